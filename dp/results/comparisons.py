"""comparisons.csv: every variant against `fixed` on the same examples."""

from operator import itemgetter

from dp.results.answers import answers, cluster_numbers, right
from dp.results.groups import by_row, grouped
from dp.results.runs import Run
from dp.results.table import OVERFLOW, Row, made_from, overflowed
from dp.statistics.p_values import holm
from dp.statistics.paired import Difference, compare
from dp.study.study import Study

COLUMNS = ("backbone", "regime", "k", "task", "variant", "against", "n", "seeds", "difference", "low", "high", "p",
           "p_holm", "test", "labels", "runs")  # fmt: skip
AGAINST = "fixed"
FAMILY = ("backbone", "regime", "k")


def rows(study: Study, runs: list[Run]) -> list[Row]:
    """One row per variant and task that has runs of `fixed` in the same backbone, regime and k, in the grid's order.

    difference: mean accuracy of the variant minus that of `fixed`; test, p and interval: dp.statistics.paired. `seeds`
    counts the variant's runs, `runs` names those of both. p_holm: over all rows of one backbone, regime and k. Where a
    run of either overflowed, `test` says so and the numbers are None.
    """
    cells, found = by_row(runs), []
    for (backbone, regime, k, task, variant), members in cells.items():
        base = cells.get((backbone, regime, k, task, AGAINST), [])
        if variant == AGAINST or not base:
            continue
        found.append(
            {"backbone": backbone, "regime": regime, "k": k, "task": task, "variant": variant, "against": AGAINST,
             "n": members[0].metrics["n"], "seeds": len(members), **tested(members, base), **made_from(members, base)}
        )  # fmt: skip
    return corrected(found)


def tested(members: list[Run], base: list[Run], same_runs: bool = False) -> Row:
    """difference, low, high, p, test (dp.statistics.paired); without numbers where a run overflowed."""
    if overflowed(members, base):
        return dict.fromkeys(Difference._fields) | {"test": OVERFLOW}
    read = answers([*members, *base])
    ones, others = read[: len(members)], read[len(members) :]
    return compare(right(ones), right(others), cluster_numbers(read), same_runs=same_runs)._asdict()


def corrected(found: list[Row]) -> list[Row]:
    """The rows with p_holm, by Holm over all rows of one backbone, regime and k."""
    for family in grouped((row for row in found if row["p"] is not None), itemgetter(*FAMILY)).values():
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p
    return found
