"""The verdict of a report: claims of the paper and predictions counted by verdict, with a sentence in plain words."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from dp.results import null_task, predicted
from dp.results.table import Row, is_overflow

TONE = {"reproduced": "good", "holds": "good", "yes": "good", "differs": "bad", "fails": "bad", "unclear": "open",
        "collapsed": "low", "overflowed": "low", "not run": "none", "not comparable": "none"}  # fmt: skip
"""How a verdict looks; each also has a sign of its own and is written out."""
SIGN = {"good": "✓", "bad": "✗", "open": "?", "low": "↓", "none": "–"}
JUDGED = ("reproduced", "differs", "unclear", "collapsed", "overflowed")
CELLS = ("cell", "average")
"""Kinds of claim that are numbers of the paper's tables."""
UNJUDGED = {"not run": ("were not run", "none was run"), "not comparable": ("are not comparable", "none is comparable")}
NO_BACKBONE = "the scale has no backbone "
PLURAL = {"gain": "gains", "text": "statements", "anchor": "anchors"}


@dataclass(frozen=True)
class Tile:
    verdict: str
    count: int
    tone: str
    sign: str
    start: float  # where its part of the bar begins, and how long it is, 0..1000
    width: float


@dataclass(frozen=True)
class Summary:
    headline: str
    details: list[str]
    tiles: list[Tile]
    judged: bool = True  # whether anything was


def tone(verdict: str) -> str:
    return TONE.get(verdict, "none")


def of_claims(claims: list[Row]) -> Summary | None:
    """What the runs say about the paper's numbers; None without claims."""
    if not claims:
        return None
    cells = [row for row in claims if row["kind"] in CELLS]
    others = [row for row in claims if row["kind"] not in CELLS]
    count = Counter(row["verdict"] for row in cells)
    judged = sum(count[verdict] for verdict in JUDGED)
    kinds = list(dict.fromkeys(row["kind"] for row in others))
    details = []
    if judged:
        headline = f"Of the paper's {len(cells)} cells {judged} can be judged here: {_listed(count, JUDGED)}."
        left = [row for row in cells if row["verdict"] not in JUDGED]
        details += [f"The other {len(left)} cannot: {_reasons(left)}."] if left else []
    else:
        headline = f"None of the paper's {len(cells)} cells can be judged here, because {_reasons(cells)}."
    if others:
        found = Counter(row["verdict"] for row in others)
        names = ", ".join(PLURAL.get(kind, kind) for kind in kinds)
        details.append(f"Of {len(others)} further claims ({names}): {_listed(found, found)}.")
    return Summary(headline, details, _tiles(Counter(row["verdict"] for row in claims)), judged > 0)


def of_predictions(rows: list[Row], null: list[Row]) -> Summary:
    """What the runs say about the results that were predicted for this scale."""
    count = Counter(row["verdict"] for row in rows if not row["broken"])
    said = predicted.in_words(rows)
    headline = f"{said[0].upper()}{said[1:]}."
    details = ["Unclear: the interval reaches beyond the predicted range, so the runs are too few for their spread."]
    if null:
        said = null_task.in_words(null)
        details.append(f"{said[0].upper()}{said[1:]}.")
    return Summary(headline, details, _tiles(count))


def of_collapse(results: list[Row]) -> str | None:
    """Whether what was trained is told apart from a constant answer; None where all of it is."""
    trained = [row for row in results if row["metric"] == "accuracy" and row["steps"] and row["collapsed"]]
    fallen = [row for row in trained if not row["collapsed"].startswith("0/")]
    if not fallen:
        return None
    if all(len(set(row["collapsed"].split("/"))) == 1 for row in trained):
        return (
            f"All of the {len(trained)} trained numbers are collapsed: no run is told apart from the majority class, "
            "so nothing can be said here of which variant is better."
        )
    return f"Of {len(trained)} trained numbers {len(fallen)} hold a collapsed run, one at the majority class."


def of_overflow(results: list[Row]) -> str | None:
    """How many numbers there are not, because runs ended in a status; None where all there should be are."""
    without = [row for row in results if row["metric"] == "accuracy" and is_overflow(row)]
    if not without:
        return None
    names = ", ".join(dict.fromkeys(row["variant"] for row in without))
    many = "number is" if len(without) == 1 else "numbers are"
    return f"{len(without)} {many} none: runs of {names} ended in an overflow of float32 under the switch fillers."


def _tiles(count: Counter[str]) -> list[Tile]:
    """In the order of TONE, whatever is unknown behind it."""
    tiles, start, total = [], 0.0, count.total()
    for verdict in (*TONE, *sorted(count.keys() - TONE.keys())):
        if count[verdict]:
            width = 1000 * count[verdict] / total
            tiles.append(Tile(verdict, count[verdict], tone(verdict), SIGN[tone(verdict)], round(start, 2),
                              round(width, 2)))  # fmt: skip
            start += width
    return tiles


def _listed(count: Counter[str], order: Iterable[str]) -> str:
    return ", ".join(f"{count[verdict]} {verdict}" for verdict in order if count[verdict])


def _reasons(rows: list[Row]) -> str:
    """How many there are of each verdict, and up to two reasons for it."""
    parts = []
    for verdict, number in Counter(row["verdict"] for row in rows).items():
        reasons = Counter(str(row["reason"]) for row in rows if row["verdict"] == verdict and row["reason"])
        if reasons and all(reason.startswith(NO_BACKBONE) for reason in reasons):
            reasons = Counter([NO_BACKBONE + ", ".join(reason.removeprefix(NO_BACKBONE) for reason in reasons)])
        shown = "; ".join(reason for reason, _ in reasons.most_common(2))
        more = f"; and {len(reasons) - 2} more reasons" if len(reasons) > 2 else ""
        some, none = UNJUDGED.get(verdict, (f"are {verdict}", f"all are {verdict}"))
        parts.append((none if number == len(rows) else f"{number} {some}") + (f" ({shown}{more})" if shown else ""))
    return ", ".join(parts)
