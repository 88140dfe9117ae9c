"""Which runs of a scale a claim is about, and what the scale lacks for it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from dp.closed import read_yaml
from dp.data.regime import Regime
from dp.errors import UserError
from dp.jobs.job import Cell
from dp.paper.claimed import Claim, Paper
from dp.study import study as studies
from dp.study.grid import cells
from dp.study.study import Study


@dataclass(frozen=True)
class Match:
    """Variant -> its groups: for each task (and k, in few-shot) the cells that differ in seed alone.

    `lacking`: what the scale would need besides; where it is not empty, there are no groups.
    """

    groups: dict[str, list[list[Cell]]]
    lacking: list[str]

    @property
    def cells(self) -> list[Cell]:
        return [cell for groups in self.groups.values() for group in groups for cell in group]


class Matcher:
    """Matches claims with the grid of one study."""

    def __init__(self, study: Study, paper: Paper) -> None:
        self.study, self.paper = study, paper
        self.grid: dict[tuple[str, str, str, str], dict[int | None, list[Cell]]] = {}
        for cell in cells(study):
            regime = cell.parsed_regime
            by_k = self.grid.setdefault((cell.backbone, regime.in_tables, cell.task, cell.variant), {})
            by_k.setdefault(regime.k, []).append(cell)

    def match(self, claim: Claim) -> Match:
        """A multitask claim is about the first union of the scale that holds all it needs."""
        if claim.why_not:
            return Match({}, [])
        if claim.best_of:
            parts = [self.match(one) for one in claim.best_of]
            lacking = [f"{what} (for {one.id})" for one, part in zip(claim.best_of, parts, strict=True)
                       for what in part.lacking]  # fmt: skip
            return Match({}, lacking)
        found = [self._in(regime, claim) for regime in self._regimes(claim)]
        return next((match for match in found if not match.lacking), found[0])

    def needed(self, claim: Claim) -> list[Cell]:
        """The cells of the scale whose evaluations decide a claim, without repetition."""
        parts = [self.match(one) for one in (claim.best_of or (claim,))]
        return list(dict.fromkeys(cell for part in parts for cell in part.cells))

    def _regimes(self, claim: Claim) -> list[str]:
        if claim.regime != "multitask":
            return [claim.regime]
        unions = dict.fromkeys(regime for _, regime, _, _ in self.grid if Regime.parse(regime).is_union)
        return list(unions) or ["multitask"]

    def _in(self, regime: str, claim: Claim) -> Match:
        tasks = self.paper.tasks_of(claim)
        keys = {v: [(claim.backbone, regime, task, v) for task in tasks] for v in claim.variants}
        if lacking := self._lacking(claim, regime, [key for own in keys.values() for key in own]):
            return Match({}, lacking)
        groups: dict[str, list[list[Cell]]] = {variant: [] for variant in claim.variants}
        for number in range(len(tasks)):
            per_variant = [self.grid[own[number]] for own in keys.values()]
            shared = [k for k in per_variant[0] if all(k in others for others in per_variant)]
            if not shared:
                return Match({}, [f"a k that {' and '.join(claim.variants)} share on {tasks[number]}"])
            for variant, by_k in zip(claim.variants, per_variant, strict=True):
                groups[variant] += [by_k[k] for k in shared]
        return Match(groups, [])

    def _lacking(self, claim: Claim, regime: str, keys: list[tuple[str, str, str, str]]) -> list[str]:
        """The coarsest names for what is missing: a backbone, regime, variant or task, else single cells."""
        if all(key in self.grid for key in keys):
            return []
        for what, place in (("backbone", 0), ("regime", 1)):
            if keys[0][place] not in {key[place] for key in self.grid}:
                return [f"{what} {keys[0][place]}"]
        here = {key for key in self.grid if key[:2] == (claim.backbone, regime)}
        if not here:
            return [f"regime {regime} on {claim.backbone}"]
        missing = [key for key in keys if key not in here]
        found = [f"variant {v}" for v in claim.variants if all(key[3] != v for key in here)]
        found += [f"task {t}" for t in self.paper.tasks_of(claim) if all(key[2] != t for key in here)]
        named = {word.partition(" ")[2] for word in found}
        return found + [f"{v} on {t}" for _, _, t, v in missing if v not in named and t not in named]


def scales_with(claims: Iterable[Claim], paper: Paper, root: Path = Path()) -> list[str]:
    """The scales of `workflow/scales` that have runs for one of these claims, at their own source of rows."""
    raw, wanted, found = read_yaml(root / "params.yaml"), list(claims), []
    for path in sorted((root / "workflow" / "scales").glob("*.yaml")):
        try:
            study = studies.load(root, {"scale": path.stem, "source": None, "folder": raw.get("folder") or "any"})
        except UserError:
            continue  # a scale that does not load has no runs
        matcher = Matcher(study, paper)
        if any(matcher.needed(claim) for claim in wanted):
            found.append(path.stem)
    return found


def cells_for(study: Study, paper: Paper, claims: list[Claim], asked: str) -> list[Cell]:
    """The cells of the scale that decide these claims, in the grid's order.

    Raises UserError where the scale has none: it says why, and which scale has them.
    """
    matcher = Matcher(study, paper)
    wanted = {cell for claim in claims if not matcher.match(claim).lacking for cell in matcher.needed(claim)}
    if wanted:
        return [cell for cell in cells(study) if cell in wanted]
    if why := next((claim.why_not for claim in claims if claim.why_not), None):
        raise UserError(f"{asked}: no run can decide it: {why}.")
    lacking = dict.fromkeys(what for claim in claims for what in matcher.match(claim).lacking)
    scales = scales_with(claims, paper)
    remedy = f"to be had with `--config scale={' or '.join(scales)}`" if scales else "no scale here has it"
    raise UserError(f"{asked}: scale '{study.scale_name}' has no run for it: no {', no '.join(lacking)}; {remedy}.")
