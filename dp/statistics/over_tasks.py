"""A variant over several tasks: mean, interquartile mean, probability of improvement (Agarwal et al. 2021).

Scores are one array [S_t] of runs for each of T tasks or, of several backbones, of the mean on each, in one order.
Intervals (`bootstraps.over_runs`) draw runs within each task, or backbones over all tasks, so the tasks count as given:
they say what other seeds would give, not other tasks.
"""

import numpy as np
from scipy import stats

from dp.statistics.bootstraps import Scores
from dp.statistics.intervals import Floats


def mean(scores: Scores) -> Floats:
    """Mean over tasks of the mean over runs: [...]."""
    return np.mean([of_task.mean(axis=-1) for of_task in scores], axis=0)


def interquartile_mean(scores: Scores) -> Floats:
    """Mean of the middle half of all runs of all tasks: [...]. A quarter is cut, rounded down, at either end."""
    return stats.trim_mean(np.concatenate(scores, axis=-1), 0.25, axis=-1)


def improvement_on_each(scores: Scores, against: Scores) -> Floats:
    """As `improvement`, of X and Y on the same backbone: [...]."""
    return np.mean([((x > y) + (x == y) / 2).mean(axis=-1) for x, y in zip(scores, against, strict=True)], axis=0)


def improvement(scores: Scores, against: Scores) -> Floats:
    """P(X > Y) + P(X = Y) / 2 of a run X and one of `against`, Y, of the same task, mean over tasks: [...]."""
    by_task = []
    for x, y in zip(scores, against, strict=True):
        x, y = x[..., :, None], y[..., None, :]
        by_task.append(((x > y) + (x == y) / 2).mean(axis=(-2, -1)))
    return np.mean(by_task, axis=0)
