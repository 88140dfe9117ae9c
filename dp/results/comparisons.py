"""comparisons.csv: every variant against `fixed` on the same examples."""

from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from dp.errors import UserError
from dp.results.groups import by_backbone, by_row, grouped
from dp.results.runs import Run
from dp.results.table import OVERFLOW, Row, made_from, overflowed
from dp.statistics.intervals import Floats, Ints
from dp.statistics.p_values import holm
from dp.statistics.paired import Difference, compare
from dp.study.protocols import BROKEN
from dp.study.study import Study, learned_factors

COLUMNS = ("backbone", "regime", "k", "task", "variant", "against", "n", "seeds", "difference", "low", "high", "p",
           "p_holm", "test", "labels", "runs")  # fmt: skip
AGAINST = "fixed"
LEVEL = 0.05
"""Below it, a difference is called one."""
FAMILY = ("backbone", "regime", "k")


def rows(study: Study, runs: list[Run]) -> list[Row]:
    """One row per variant and task that has runs of `fixed` in the same backbone, regime and k, in the grid's order.

    difference: mean accuracy of the variant minus that of `fixed`; test, p and interval: dp.statistics.paired. `seeds`
    counts the variant's runs, `runs` names those of both. p_holm: over all rows of one backbone, regime and k. Where a
    run of either overflowed, `test` says so and the numbers are None.
    """
    cells, found = by_row(runs), []
    for key, members in cells.items():
        base = cells.get(key._replace(variant=AGAINST), [])
        if key.variant != AGAINST and base:
            numbers = {"against": AGAINST, "n": members[0].metrics["n"], "seeds": len(members)}
            found.append(key._asdict() | numbers | tested(members, base) | made_from(members, base))
    return corrected(found)


def in_words(study: Study, found: list[Row]) -> str | None:
    """Whether what is learned to be chosen helps, from the rows of comparisons.csv; None where nothing is."""
    dynamic = {name for name in study.scale.variants if _is_dynamic(study, name)}
    own = [row for row in found if row["difference"] is not None and row["variant"] in dynamic]
    if not own:
        return None
    clear = [row["difference"] for row in own if row["p_holm"] < LEVEL]
    better, worse = sum(value > 0 for value in clear), sum(value < 0 for value in clear)
    low, high = (100 * limit(row[key] for row in own) for limit, key in ((min, "difference"), (max, "difference")))
    ends = [100 * row[key] for row in own for key in ("low", "high") if row[key] is not None]
    reach = f"; their 95 % intervals from {min(ends):+.1f} to {max(ends):+.1f}" if ends else ""
    return (
        f"Of {len(own)} comparisons of a dynamic prompt with {AGAINST} {better} are better and {worse} worse (p < "
        f"{LEVEL} after Holm's correction). The differences go from {low:+.1f} to {high:+.1f} points{reach}."
    )


def _is_dynamic(study: Study, variant: str) -> bool:
    """Whether a variant learns a choice, as it is meant to."""
    if study.is_control(variant) or not learned_factors(study, variant):
        return False
    return not {*study.params.variants[variant].switches} & {*BROKEN}  # type: ignore[union-attr]


def tested(members: list[Run], base: list[Run], same_runs: bool = False) -> Row:
    """difference, low, high, p, test (dp.statistics.paired); without numbers where a run overflowed."""
    if overflowed(members, base):
        return dict.fromkeys(Difference._fields) | {"test": OVERFLOW}
    right, clusters = answers([*members, *base])
    one, other = _by_backbone(members, right[: len(members)]), _by_backbone(base, right[len(members) :])
    if len(one) == 1 and len(other) == 1:
        return compare(right[: len(members)], right[len(members) :], clusters, same_runs)._asdict()
    first, second = (np.stack([side[name].mean(axis=0) for name in one]) for side in (one, other))
    return compare(first, second, clusters, same_runs=True, over="backbones")._asdict()


def _by_backbone(runs: list[Run], right: Floats) -> dict[str, Floats]:
    """Backbone -> the lines of `right` [S, N] of its runs."""
    return {name: right[[run.cell.backbone == name for run in runs]] for name in by_backbone(runs)}


def answers(runs: Sequence[Run]) -> tuple[Floats, Ints]:
    """Of runs of one task: the examples that each got right, [S, N], 1 or 0; and each example's cluster [N], from 0.

    Raises UserError where two report different examples.
    """
    read = [run.predictions() for run in runs]
    examples = [[(line["id"], line["cluster"]) for line in lines] for lines in read]
    for run, own in zip(runs, examples, strict=True):
        if own != examples[0]:
            raise UserError(
                f"{run.folder}/predictions.jsonl and {runs[0].folder}/predictions.jsonl do not hold the same examples "
                "in the same order, so the runs cannot be compared example by example. Evaluate both again."
            )
    right = np.array([[line["gold"] == line["prediction"] for line in lines] for lines in read], dtype=float)
    return right, np.unique([cluster for _, cluster in examples[0]], return_inverse=True)[1]


def corrected(found: list[Row]) -> list[Row]:
    """The rows with p_holm, by Holm over all rows of one backbone, regime and k."""
    for family in grouped((row for row in found if row["p"] is not None), itemgetter(*FAMILY)).values():
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p
    return found
