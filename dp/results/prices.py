"""prices.csv: what each switch of the released protocol is worth, in accuracy."""

from dp.results.comparisons import corrected, tested
from dp.results.groups import by_row
from dp.results.runs import Run
from dp.results.table import Row, made_from, summary
from dp.results.twins import paired, twins
from dp.study.protocols import BROKEN
from dp.study.study import Study

COLUMNS = ("backbone", "regime", "k", "task", "variant", "switches", "against", "n", "seeds", "with", "without",
           "difference", "low", "high", "p", "p_holm", "test", "labels", "runs")  # fmt: skip


def rows(study: Study, runs: list[Run]) -> list[Row]:
    """One row per variant with switches and task, in the grid's order: mean accuracy with, without, and the difference.

    `against` is the variant of the same definition and budget that has no switches of its own; `switches` are those
    that it lacks, all priced together; those that break a choice on purpose have no price. Runs of one seed are paired:
    they began alike, and some switches change nothing but which of their steps is kept (where passes are shared, a run
    with dropout has its batches in another order than its twin). Tests as in comparisons.csv,
    p_holm over the rows of one backbone, regime and k.
    """
    priced = {
        one: (other, extra)
        for (one, other), extra in twins(study).items()
        if not study.params.variants[other].switches  # type: ignore[union-attr]
        and not set(extra) & set(BROKEN)
    }
    cells, found = by_row(runs), []
    for key, members in cells.items():
        if key.variant not in priced:
            continue
        against, extra = priced[key.variant]
        members, base = paired(members, cells.get(key._replace(variant=against), []))
        if base:
            found.append(key._asdict() | {
                "switches": ";".join(extra), "against": against, "n": members[0].metrics["n"], "seeds": len(members),
                "with": summary(members, "accuracy")["mean"], "without": summary(base, "accuracy")["mean"],
                **tested(members, base, same_runs=True), **made_from(members, base)})  # fmt: skip
    return corrected(found)
