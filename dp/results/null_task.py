"""null_task.csv: is any variant better than another where nothing dynamic can help?"""

from collections.abc import Iterable
from statistics import fmean

from dp.results.groups import by_cell
from dp.results.predicted import OVERFLOWED
from dp.results.runs import Run
from dp.results.table import Row, accuracies, made_from, overflowed
from dp.statistics import ALPHA
from dp.statistics.p_values import holm, p_better
from dp.study.grid import is_trained
from dp.study.study import Study

COLUMNS = ("backbone", "regime", "k", "task", "variant", "against", "seeds", "mean", "against_mean", "difference",
           "p", "p_holm", "verdict", "labels", "runs")  # fmt: skip


def rows(study: Study, runs: Iterable[Run]) -> list[Row]:
    """One row per trained variant on the null task, controls included: is it better than `against`?

    p: `p_better`; p_holm: corrected over all rows; verdict `fails` where it is below 5 %, `overflowed` where a run of
    either has no number.
    """
    assert study.predictions
    null = study.predictions.null_task
    cells = by_cell(run for run in runs if (run.cell.regime, run.cell.task) == (null.regime, null.task))
    found = []
    for key, members in cells.items():
        if key.variant == null.against or not is_trained(study, key.variant):
            continue
        base = cells[key._replace(variant=null.against)]
        about = {"against": null.against, "seeds": len(members), "verdict": OVERFLOWED}
        row: Row = dict.fromkeys(COLUMNS) | key._asdict() | about | made_from(members)
        found.append(row)
        if not overflowed(members, base):
            better, against = accuracies(members), accuracies(base)
            row |= {"mean": fmean(better), "against_mean": fmean(against),
                    "difference": fmean(better) - fmean(against),
                    "p": p_better(better, against, members[0].metrics["n"])}  # fmt: skip
    judged = [row for row in found if row["p"] is not None]
    for row, p in zip(judged, holm([row["p"] for row in judged]), strict=True):
        row |= {"p_holm": p, "verdict": "fails" if p < ALPHA else "holds"}
    return found
