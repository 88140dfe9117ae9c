"""predictions.csv: what was predicted beside what was measured, and whether it holds."""

from collections.abc import Iterable

from dp.results.groups import by_cell
from dp.results.runs import Run
from dp.results.table import Row, made_from, overflowed, summary
from dp.study.study import Study

COLUMNS = ("backbone", "regime", "k", "task", "variant", "predicted_low", "predicted_high", "seeds", "mean", "low",
           "high", "interval", "verdict", "majority", "because", "labels", "runs")  # fmt: skip
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
