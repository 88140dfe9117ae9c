"""aggregates.csv: a variant over the tasks of a regime."""

from collections.abc import Callable

import numpy as np

from dp.results.comparisons import AGAINST
from dp.results.groups import by_backbone, by_row
from dp.results.runs import Run
from dp.results.table import Row, accuracies, draws, made_from, overflowed
from dp.statistics.bootstraps import Scores, over_runs
from dp.statistics.intervals import Floats, of_runs
from dp.statistics.over_tasks import improvement, improvement_on_each, interquartile_mean, mean
from dp.study.study import Study

COLUMNS = ("backbone", "regime", "k", "variant", "against", "tasks", "seeds", "mean", "mean_low", "mean_high", "iqm",
           "iqm_low", "iqm_high", "improvement", "improvement_low", "improvement_high", "labels", "runs")  # fmt: skip
NO_NUMBER: Row = dict.fromkeys(COLUMNS[7:16])


def rows(study: Study, runs: list[Run]) -> list[Row]:
    """One row per variant, over the tasks on which both it and `fixed` were run in one backbone, regime and k.

    Accuracies alone, of several backbones the mean on each, which is one draw over all tasks: the interval of `mean` is
    then Student's t, and improvement compares on each backbone. dp.statistics.over_tasks says what the numbers are.
    `seeds` counts the runs of a task (the fewest, where tasks differ). The row of `fixed` has no improvement over
    itself. Where a run of a task overflowed, there is no number over the tasks.
    """
    by_variant: dict[tuple[str, str, int | None, str], dict[str, list[Run]]] = {}
    for (backbone, regime, k, task, variant), members in by_row(runs).items():
        by_variant.setdefault((backbone, regime, k, variant), {})[task] = members
    found = []
    for (backbone, regime, k, variant), by_task in by_variant.items():
        base = by_variant.get((backbone, regime, k, AGAINST), {})
        tasks = [task for task in by_task if task in base]
        if not tasks:
            continue
        cells, others = [by_task[task] for task in tasks], [base[task] for task in tasks]
        row: Row = {"backbone": backbone, "regime": regime, "k": k, "variant": variant, "against": AGAINST,
                    "tasks": ";".join(tasks), "seeds": min(map(len, cells))}  # fmt: skip
        if not overflowed(*cells):
            own, several = _scores(cells), len(by_backbone(cells[0])) > 1
            row |= _with_interval("mean", mean, own, together=several)
            row |= _with_interval("iqm", interquartile_mean, own, together=several)
            if several:
                values = [round(float(value), 12) for value in mean([one[..., None] for one in own])]
                low, high = of_runs(values) if len(set(values)) > 1 else (None, None)
                row |= {"mean_low": low, "mean_high": high}
            if variant != AGAINST and not overflowed(*others):
                better = improvement_on_each if several else improvement
                row |= _with_interval("improvement", better, own, _scores(others), together=several)
        found.append(NO_NUMBER | row | made_from(*cells, *(others if variant != AGAINST else [])))
    return found


def _scores(cells: list[list[Run]]) -> list[Floats]:
    return [np.array(draws(members, accuracies(members))) for members in cells]


def _with_interval(name: str, statistic: Callable[..., Floats], *samples: Scores, together: bool) -> Row:
    low, high = over_runs(statistic, *samples, together=together)
    return {name: float(statistic(*samples)), f"{name}_low": low, f"{name}_high": high}
