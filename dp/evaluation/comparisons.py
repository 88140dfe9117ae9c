"""comparisons.csv: every variant against `fixed` on the same examples."""

from dp.evaluation.answers import answers, cluster_numbers, right
from dp.evaluation.runs import Run
from dp.evaluation.table import Row, group, made_from
from dp.statistics.multiple import holm
from dp.statistics.paired import compare
from dp.study import Study

COLUMNS = ("backbone", "regime", "k", "task", "variant", "against", "n", "seeds", "difference", "low", "high", "p",
           "p_holm", "test", "labels", "runs")  # fmt: skip
AGAINST = "fixed"
FAMILY = ("backbone", "regime", "k")


def rows(study: Study, runs: list[Run]) -> list[Row]:
    """One row per variant and task that has runs of `fixed` in the same backbone, regime and k, in the grid's order.

    difference: mean accuracy of the variant minus that of `fixed`; test, p and interval: dp.statistics.paired. `seeds`
    counts the variant's runs, `runs` names those of both. p_holm: over all rows of one backbone, regime and k.
    """
    cells, found = group(runs), []
    for (backbone, regime, k, task, variant), members in cells.items():
        base = cells.get((backbone, regime, k, task, AGAINST), [])
        if variant == AGAINST or not base:
            continue
        read = answers([*members, *base])
        of_variant, of_base = read[: len(members)], read[len(members) :]
        test = compare(right(of_variant), right(of_base), cluster_numbers(read))
        found.append(
            {"backbone": backbone, "regime": regime, "k": k, "task": task, "variant": variant, "against": AGAINST,
             "n": len(read[0].ids), "seeds": len(members), **test._asdict(), **made_from(members, base)}
        )  # fmt: skip
    return corrected(found)


def corrected(found: list[Row]) -> list[Row]:
    """The rows with p_holm, by Holm over all rows of one backbone, regime and k."""
    families: dict[tuple[object, ...], list[Row]] = {}
    for row in found:
        families.setdefault(tuple(row[key] for key in FAMILY), []).append(row)
    for family in families.values():
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p
    return found
