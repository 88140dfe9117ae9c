"""aggregates.csv: a variant over the tasks of a regime."""

from collections.abc import Callable

import numpy as np

from dp.evaluation.comparisons import AGAINST
from dp.evaluation.runs import Run
from dp.evaluation.table import Row, accuracies, group, made_from
from dp.statistics.aggregate import Floats, Scores, improvement, interquartile_mean, interval, mean
from dp.study import Study

COLUMNS = ("backbone", "regime", "k", "variant", "against", "tasks", "seeds", "mean", "mean_low", "mean_high", "iqm",
           "iqm_low", "iqm_high", "improvement", "improvement_low", "improvement_high", "labels", "runs")  # fmt: skip


def rows(study: Study, runs: list[Run]) -> list[Row]:
    """One row per variant, over the tasks on which both it and `fixed` were run in one backbone, regime and k.

    Accuracies alone; dp.statistics.aggregate says what the three numbers are. `seeds` counts the runs of a task (the
    fewest, where tasks differ). The row of `fixed` has no improvement over itself.
    """
    by_variant: dict[tuple[str, str, int | None, str], dict[str, list[Run]]] = {}
    for (backbone, regime, k, task, variant), members in group(runs).items():
        by_variant.setdefault((backbone, regime, k, variant), {})[task] = members
    found = []
    for (backbone, regime, k, variant), by_task in by_variant.items():
        base = by_variant.get((backbone, regime, k, AGAINST), {})
        tasks = [task for task in by_task if task in base]
        if not tasks:
            continue
        own, others = _scores(by_task, tasks), _scores(base, tasks)
        row: Row = {"backbone": backbone, "regime": regime, "k": k, "variant": variant, "against": AGAINST,
                    "tasks": ";".join(tasks), "seeds": min(map(len, own))}  # fmt: skip
        row |= _with_interval("mean", mean, own) | _with_interval("iqm", interquartile_mean, own)
        cells = [by_task[task] for task in tasks]
        if variant != AGAINST:
            row |= _with_interval("improvement", improvement, own, others)
            cells += [base[task] for task in tasks]
        found.append(row | made_from(*cells))
    return found


def _scores(by_task: dict[str, list[Run]], tasks: list[str]) -> list[Floats]:
    return [np.array(accuracies(by_task[task])) for task in tasks]


def _with_interval(name: str, statistic: Callable[..., Floats], *samples: Scores) -> Row:
    low, high = interval(statistic, *samples)
    return {name: float(statistic(*samples)), f"{name}_low": low, f"{name}_high": high}
