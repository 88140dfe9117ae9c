"""claims.csv: each claim of the paper beside our runs, with a verdict and its reason (the rules: docs/claims.md)."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from typing import Any

from dp.jobs.job import Cell
from dp.paper import measures
from dp.paper.claimed import AVERAGE, Claim, Paper, Setup, load
from dp.paper.matching import Match, Matcher
from dp.results import predicted
from dp.results.groups import by_row
from dp.results.runs import Run
from dp.results.table import Row, digests, labels, protocol
from dp.statistics.intervals import wilson
from dp.study.study import Study

COLUMNS = ("claim", "table", "kind", "backbone", "variant", "task", "regime", "k", "protocol", "metric", "value",
           "ours", "low", "high", "difference", "tolerance", "seeds", "verdict", "reason", "paper_collapsed", "labels",
           "runs")  # fmt: skip
OVERFLOWED = predicted.OVERFLOWED
VERDICTS = ("reproduced", "differs", "unclear", "collapsed", OVERFLOWED, "not comparable", "not run")
NO_EVIDENCE = {
    "made-up": "rows made up by the project",
    "planted-world": "a planted world",
    "random-weights": "random weights",
    "re-split": "a re-split task",
    "subset": "a subset of the rows",
}
WORDS = {"holds": "reproduced", "fails": "differs", "unclear": "unclear"}
KEPT_OUT = 0.01
"""The largest share of the train rows that a run may keep out under a protocol that keeps out none."""

_wilson = cache(wilson)
Groups = dict[str, list[list[Run]]]


@dataclass(frozen=True)
class Evidence:
    """Our number for a claim, in percent.

    `groups`: the runs behind it, variant -> those of each task (and k). `rivals`: the numbers it is the largest of.
    """

    groups: Groups
    mean: float
    low: float
    high: float
    note: str | None = None
    rivals: tuple["Evidence", ...] = ()

    @property
    def cells(self) -> list[list[Run]]:
        return list(chain.from_iterable(self.groups.values()))

    @property
    def runs(self) -> list[Run]:
        """Each once, those of the rivals included."""
        considered = [*self.cells, *chain.from_iterable(rival.cells for rival in self.rivals)]
        return list({run.cell: run for members in considered for run in members}.values())

    @property
    def labels(self) -> list[str]:
        parts = [self.cells, *(rival.cells for rival in self.rivals)]
        return sorted({label for cells in parts for members in cells for label in labels(members)})


def rows(study: Study, runs: Iterable[Run], claims: Iterable[Claim] | None = None) -> list[Row]:
    """A row for each claim (all, unless some are given), keyed by COLUMNS, whatever the scale has; in percent."""
    paper, evaluated = load(), {run.cell: run for run in runs}
    judge = _Judge(study, paper, Matcher(study, paper), evaluated)
    return [judge.row(claim) for claim in (paper.claims.values() if claims is None else claims)]


def collapsed_cells(paper: Paper, claim: Claim) -> list[Claim]:
    """The paper's own cells of a claim whose 95 % interval (Wilson, over the rows) contains the majority rate: a run of
    ours with such a number counts as collapsed."""
    return [cell for cell in claim.cells or ((claim,) if claim.n else ()) if _at_majority(paper, cell)]


def _at_majority(paper: Paper, cell: Claim) -> bool:
    assert cell.value is not None and cell.n is not None
    low, high = _wilson(round(float(cell.value) * cell.n / 100), cell.n)
    return low <= paper.facts.tasks[cell.task].rate <= high


def verdict(low: float, high: float, value: float, tolerance: float) -> str:
    """`reproduced`: the whole interval lies within value +- tolerance. `differs`: wholly outside. Else `unclear`."""
    return WORDS[predicted.verdict(low, high, (value - tolerance, value + tolerance))]


def direction(low: float, high: float) -> str:
    """Of a claim that something is larger: `reproduced` above 0 throughout, `differs` nowhere above it."""
    return "reproduced" if low > 0 else "differs" if high <= 0 else "unclear"


@dataclass(frozen=True)
class _Judge:
    study: Study
    paper: Paper
    matcher: Matcher
    evaluated: dict[Cell, Run]

    def row(self, claim: Claim) -> Row:
        own = collapsed_cells(self.paper, claim)
        row: Row = dict.fromkeys(COLUMNS) | {
            "claim": claim.id, "table": claim.table, "kind": claim.kind, "backbone": claim.backbone,
            "variant": claim.variant, "task": claim.task, "regime": claim.regime, "metric": measures.METRIC,
            "value": None if claim.value is None else str(claim.value), "tolerance": claim.tolerance,
            "seeds": 0, "labels": "", "runs": "",
            "paper_collapsed": ("yes" if own else "no") if claim.cells or claim.n else None,
        }  # fmt: skip
        if claim.why_not:
            return row | {"verdict": "not comparable", "reason": claim.why_not}
        so_far = [self.evaluated[cell] for cell in self.matcher.needed(claim) if cell in self.evaluated]
        if any(run.overflow for run in so_far):
            return row | self._overflowed(so_far)
        found = self._best(claim) if claim.best_of else self._evidence(claim)
        if isinstance(found, str):
            return row | {"verdict": "not run", "reason": found}
        known = "; ".join(filter(None, [_paper_note(self.paper, claim, own), found.note]))
        named, reason = self._judged(claim, found)
        value = None if claim.value is None else float(claim.value)
        return row | {
            "regime": found.cells[0][0].regime,
            "k": ";".join(dict.fromkeys(str(run.k) for run in found.runs if run.k)),
            "protocol": ";".join(dict.fromkeys(protocol(self.study, variant) for variant in found.groups)),
            "ours": found.mean,
            "low": found.low,
            "high": found.high,
            "difference": None if value is None else found.mean - value,
            "seeds": min(map(len, found.cells)),
            "verdict": named,
            "reason": "; ".join(filter(None, [reason, known])),
            "labels": ";".join(found.labels),
            "runs": digests(found.runs),
        }

    def _overflowed(self, runs: list[Run]) -> Row:
        """No number: those that happened to survive are no fair sample of the seeds."""
        bad = [run for run in runs if run.overflow]
        names = ", ".join(dict.fromkeys(map(_name, bad)))
        return {
            "regime": runs[0].regime,
            "k": ";".join(dict.fromkeys(str(run.k) for run in runs if run.k)),
            "protocol": ";".join(dict.fromkeys(protocol(self.study, run.cell.variant) for run in runs)),
            "seeds": min(map(len, by_row(runs).values())),
            "verdict": OVERFLOWED,
            "reason": f"{len(bad)} of {len(runs)} of our runs ended in an overflow and in no number ({names}): "
            f"{bad[0].overflow}; the released code has these fillers, so its number was made under the same overflow",
            "labels": ";".join(labels(runs)),
            "runs": digests(runs),
        }

    def _evidence(self, claim: Claim) -> Evidence | str:
        """Our number, or why there is none."""
        match = self.matcher.match(claim)
        if match.lacking:
            return f"the scale has no {', no '.join(match.lacking)}"
        groups = {variant: [[self.evaluated[cell] for cell in cells if cell in self.evaluated] for cells in own]
                  for variant, own in match.groups.items()}  # fmt: skip
        note = self._so_far(match)
        if any(not members for own in groups.values() for members in own):
            return f"evaluations are missing: {note}"
        if claim.against:
            found = measures.difference(*(measures.of_groups(groups[variant]) for variant in claim.variants))
            return Evidence(groups, found.mean, *found.interval, note)
        if claim.task != AVERAGE:
            return Evidence(groups, *measures.of_cell(groups[claim.variant][0]), note)
        found = measures.of_groups(groups[claim.variant])
        return Evidence(groups, found.mean, *found.clipped(100.0), note)

    def _best(self, claim: Claim) -> Evidence | str:
        """The largest of several numbers; none where one of them is missing, for that one might be larger."""
        parts = {one: self._evidence(one) for one in claim.best_of}
        found = {one: part for one, part in parts.items() if isinstance(part, Evidence)}
        if len(found) < len(parts):
            one, why = next((one, part) for one, part in parts.items() if isinstance(part, str))
            return f"{len(parts) - len(found)} of {len(parts)} gains have no runs; {one.id}: {why}"
        best = max(found, key=lambda one: found[one].mean)
        note = f"the largest of {len(parts)} gains is {best.id}; the largest of several estimates tends to be too large"
        return replace(found[best], note=note, rivals=tuple(found.values()))

    def _so_far(self, match: Match) -> str | None:
        there = sum(cell in self.evaluated for cell in match.cells)
        return None if there == len(match.cells) else f"{there} of {len(match.cells)} runs so far"

    def _judged(self, claim: Claim, found: Evidence) -> tuple[str, str]:
        """(verdict, reason)"""
        collapsed = _collapse(claim, found)
        if reasons := self._not_comparable(claim, found):
            return "not comparable", "; ".join([*reasons, *([collapsed[1]] if collapsed else [])])
        if collapsed and collapsed[0]:
            return "collapsed", collapsed[1]
        if claim.value is None:
            named = direction(found.low, found.high)
            where = {"reproduced": "above 0", "differs": "not above 0", "unclear": "on both sides of 0"}[named]
            reason = f"the 95 % interval of the mean gain over {claim.against} lies {where}"
        else:
            assert claim.tolerance is not None
            named = verdict(found.low, found.high, float(claim.value), claim.tolerance)
            where = {"reproduced": "within", "differs": "wholly outside", "unclear": "across an end of"}[named]
            reason = f"the 95 % interval lies {where} {claim.value} ± {claim.tolerance:.2f}"
            if claim.kind == "gain" and found.low <= 0 <= found.high:
                reason += " and holds 0: no gain is shown"
        more = [collapsed[1]] if collapsed else []
        return named, "; ".join([reason, *_spread(claim, found), *more])

    def _not_comparable(self, claim: Claim, found: Evidence) -> list[str]:
        """Every reason why these runs cannot decide the claim."""
        reasons = [f"made with {NO_EVIDENCE[label]} ({label})" for label in found.labels if label in NO_EVIDENCE]
        if claim.kind in ("gain", "text"):
            return reasons
        reasons += [
            f"{n:,} reported rows of {task}, the paper has {self.paper.facts.tasks[task].n:,}"
            for task, n in dict.fromkeys((run.cell.task, run.metrics["n"]) for run in found.runs)
            if n != self.paper.facts.tasks[task].n
        ]
        ours = protocol(self.study, claim.variant)
        if claim.protocol and ours != claim.protocol:
            reasons.append(f"protocol {ours}, the claim's is {claim.protocol}")
        elif claim.protocol and any(_kept_out(run) > KEPT_OUT for run in found.runs):
            reasons.append(f"up to {max(map(_kept_out, found.runs)):.0%} of the train rows were kept out, there none")
        different = dict.fromkeys(chain.from_iterable(_differences(claim.setup, run) for run in found.runs))
        return reasons + [f"{key} {ours}, there {theirs}" for key, ours, theirs in different]


def _collapse(claim: Claim, found: Evidence) -> tuple[bool, str] | None:
    """(whether that decides the verdict, in words); None where no run collapsed.

    It does where half of the runs of any one cell collapsed; for a claim without a number, half of all runs, because
    few-shot leaves some cells at the majority class by nature.
    """
    parts = [list(chain.from_iterable(found.cells))] if claim.value is None else found.cells
    bad = [members for members in parts if 2 * _collapsed(members) >= len(members)]
    count, runs = sum(map(_collapsed, found.cells)), sum(map(len, found.cells))
    if not count:
        return None
    names = [_name(members[0]) for members in found.cells if _collapsed(members)]
    where = f" ({', '.join(names)})" if len(found.cells) > 1 else ""
    return bool(bad), f"{count} of {runs} of our runs collapsed{where}"


def _collapsed(members: list[Run]) -> int:
    return sum(run.metrics["collapsed"] for run in members)


def _name(run: Run) -> str:
    return f"{run.cell.variant} on {run.cell.task}" + (f", k {run.k}" if run.k else "")


def _spread(claim: Claim, found: Evidence) -> list[str]:
    """For one cell: what the interval is made of, and whether one more run could have given the paper's number."""
    if len(found.cells) > 1 or claim.value is None:
        return []
    members = found.cells[0]
    expected = measures.one_more(members)
    if expected is None:
        return ["one run: the interval is over its examples, and knows no spread over seeds" if len(members) == 1 else
                "all runs agree: the interval is over their examples"]  # fmt: skip
    low, high = expected
    could = "could" if low <= float(claim.value) <= high else "could hardly"
    return [f"one more run would lie within [{low:.2f}, {high:.2f}], so one {could} have given {claim.value}"]


def _paper_note(paper: Paper, claim: Claim, own: list[Claim]) -> str | None:
    if not own:
        return None
    if len(claim.cells) > 1:
        names = ", ".join(f"{cell.variant} on {cell.task}" for cell in own)
        return f"the paper's own values of {names} sit at the majority class"
    return f"the paper's own value sits at the majority class ({100 * paper.facts.tasks[claim.task].rate:.2f})"


def _differences(theirs: Setup, run: Run) -> list[tuple[str, int, int]]:
    """(what, ours, theirs) where a run's set-up is another."""
    asked: dict[str, Any] = run.evaluated["asked"]
    training, prompt = asked["training"], asked["prompt"] or asked["baseline"] or {}
    ours = {
        "prompt_length": prompt.get("length"),
        "max_tokens": asked["max_tokens"],
        "steps": training["steps"] // training["updates_per_step"],
        "batch_size": training["batch_size"] * training["updates_per_step"],
    }
    expected = theirs.model_dump()
    return [
        (key.replace("_", " "), value, expected[key])
        for key, value in ours.items()
        if value is not None and expected[key] is not None and value != expected[key]
    ]


def _kept_out(run: Run) -> float:
    """The share of the official train rows that were carved off to select by."""
    available = run.tokens["made"]["available"]
    return available["selection"] / (available["selection"] + available["train"])
