"""predictions.csv: what was predicted beside what was measured, and whether it holds."""

from collections import Counter
from collections.abc import Iterable

from dp.results.groups import by_cell
from dp.results.runs import Run
from dp.results.table import Row, made_from, overflowed, summary
from dp.study.study import Study

COLUMNS = ("backbone", "regime", "k", "task", "variant", "predicted_low", "predicted_high", "broken", "seeds",
           "mean", "low", "high", "interval", "verdict", "majority", "because", "labels", "runs")  # fmt: skip
OVERFLOWED = "overflowed"
"""The verdict on runs that ended in a status and not in a number."""


def rows(study: Study, runs: Iterable[Run]) -> list[Row]:
    """One row per backbone and predicted cell, in the order of the grid, with the mean and interval of results.csv."""
    assert study.predictions
    predicted, found = study.predictions.by_cell, []
    for key, members in by_cell(runs).items():
        prediction = predicted[key.regime, key.task, key.variant]
        (low, high), measured = prediction.accuracy, summary(members, "accuracy")
        called = OVERFLOWED if overflowed(members) else verdict(measured["low"], measured["high"], (low, high))
        found.append(key._asdict() | measured | {
            "predicted_low": low, "predicted_high": high, "seeds": len(members), "verdict": called,
            "majority": members[0].metrics["majority"], "broken": "yes" if prediction.broken else "",
            "because": prediction.because, **made_from(members)})  # fmt: skip
    return found


def in_words(table: list[Row]) -> str:
    """How many predicted cells hold and, apart from them, how many broken on purpose are told from intact ones."""
    count = Counter(row["verdict"] for row in table if not row["broken"])
    broken = [row["verdict"] for row in table if row["broken"]]
    said = (
        f"of {count.total()} predicted cells {count['holds']} hold, {count['fails']} fail and {count['unclear']} are "
    )
    said += "unclear" + (f"; {count[OVERFLOWED]} ended in an overflow" if count[OVERFLOWED] else "")
    if not broken:
        return said
    return f"{said}; of {len(broken)} broken on purpose {broken.count('fails')} fail, as they must"


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
