"""predictions.csv and null_task.csv: what was predicted beside what was measured, and whether it holds."""

from collections.abc import Iterable
from statistics import fmean

from dp.results.runs import Run
from dp.results.table import Row, accuracies, made_from, overflowed, summary
from dp.statistics import ALPHA
from dp.statistics.p_values import holm, p_better
from dp.study.grid import is_trained
from dp.study.study import Study

COLUMNS = ("backbone", "regime", "k", "task", "variant", "predicted_low", "predicted_high", "seeds", "mean", "low",
           "high", "interval", "verdict", "majority", "because", "labels", "runs")  # fmt: skip
NULL_COLUMNS = ("backbone", "regime", "k", "task", "variant", "against", "seeds", "mean", "against_mean", "difference",
                "p", "p_holm", "verdict", "labels", "runs")  # fmt: skip
OVERFLOWED = "overflowed"
"""The verdict on runs that ended in a status and not in a number."""


def rows(study: Study, runs: Iterable[Run]) -> list[Row]:
    """One row per backbone and predicted cell, in the order of the grid, with the mean and interval of results.csv."""
    assert study.predictions
    predicted, found = study.predictions.by_cell, []
    for (backbone, regime, task, variant), members in by_cell(runs).items():
        prediction = predicted[regime, task, variant]
        measured = summary(members, "accuracy")
        found.append(
            {"backbone": backbone, "regime": regime, "k": members[0].k, "task": task, "variant": variant,
             "predicted_low": prediction.accuracy[0], "predicted_high": prediction.accuracy[1], "seeds": len(members),
             "majority": members[0].metrics["majority"], "because": prediction.because,
             "verdict": OVERFLOWED if overflowed(members) else
                        verdict(measured["low"], measured["high"], prediction.accuracy), **made_from(members)}
            | measured
        )  # fmt: skip
    return found


def verdict(low: float, high: float, predicted: tuple[float, float]) -> str:
    """The 95 % interval of the measured mean against the predicted range, both closed.

    `holds`: the whole interval lies inside the range. `fails`: it lies wholly outside. `unclear`: neither, that is,
    too few seeds for their spread. Each of the two claims is wrong only where the interval misses the true mean on one
    side, 2.5 % of the time at most if seeds spread normally, whereas the mean alone, inside the range or not, would be
    wrong half the time near an end. docs/predictions.md has the rates, and where they do not hold.
    """
    bottom, top = predicted
    if bottom <= low and high <= top:
        return "holds"
    return "fails" if high < bottom or top < low else "unclear"


def null_rows(study: Study, runs: Iterable[Run]) -> list[Row]:
    """One row per trained variant on the null task, controls included: is it better than `against`?

    p: `p_better`; p_holm: corrected over all rows; verdict `fails` where it is below 5 %, `overflowed` where a run of
    either has no number.
    """
    assert study.predictions
    null = study.predictions.null_task
    cells = by_cell(run for run in runs if (run.cell.regime, run.cell.task) == (null.regime, null.task))
    found = []
    for (backbone, regime, task, variant), members in cells.items():
        if variant == null.against or not is_trained(study, variant):
            continue
        base = cells[backbone, regime, task, null.against]
        row: Row = dict.fromkeys(NULL_COLUMNS) | {
            "backbone": backbone, "regime": regime, "k": members[0].k, "task": task, "variant": variant,
            "against": null.against, "seeds": len(members), "verdict": OVERFLOWED, **made_from(members)}  # fmt: skip
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


def by_cell(runs: Iterable[Run]) -> dict[tuple[str, str, str, str], list[Run]]:
    """Runs by (backbone, regime, task, variant), the regime by its full name: those that differ in seed alone."""
    groups: dict[tuple[str, str, str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.cell.backbone, run.cell.regime, run.cell.task, run.cell.variant), []).append(run)
    return groups
