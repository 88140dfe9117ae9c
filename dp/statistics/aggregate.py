"""A variant over several tasks: mean, interquartile mean, probability of improvement (Agarwal et al. 2021).

Scores are one array [S_t] of runs for each of T tasks. Intervals are percentile intervals of a bootstrap that draws
runs within each task (strata), so the tasks count as given: they say what other seeds would give, not other tasks.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dp.numerics.seeds import derive
from dp.statistics import LEVEL

RESAMPLES = 2000
Floats = NDArray[np.float64]
Scores = Sequence[Floats]  # by task: [..., S_t]


def mean(scores: Scores) -> Floats:
    """Mean over tasks of the mean over runs: [...]."""
    return np.mean([of_task.mean(axis=-1) for of_task in scores], axis=0)


def interquartile_mean(scores: Scores) -> Floats:
    """Mean of the middle half of all runs of all tasks: [...]. A quarter is cut, rounded down, at either end."""
    return stats.trim_mean(np.concatenate(scores, axis=-1), 0.25, axis=-1)


def improvement(scores: Scores, against: Scores) -> Floats:
    """P(X > Y) + P(X = Y) / 2 of a run X and one of `against`, Y, of the same task, mean over tasks: [...]."""
    by_task = []
    for x, y in zip(scores, against, strict=True):
        x, y = x[..., :, None], y[..., None, :]
        by_task.append(((x > y) + (x == y) / 2).mean(axis=(-2, -1)))
    return np.mean(by_task, axis=0)


def interval(statistic: Callable[..., Floats], *samples: Scores) -> tuple[float, float] | tuple[None, None]:
    """95 % percentile interval of a statistic of one sample (a variant's scores) or several, each drawn by itself.

    (None, None) where it has no width, which would claim a certainty that nobody has: with one run per task, runs that
    agree, or, for the probability of improvement, runs that do not overlap.
    """
    draw = np.random.default_rng(derive(0, "stratified bootstrap"))
    resampled = [
        [of_task[draw.integers(len(of_task), size=(RESAMPLES, len(of_task)))] for of_task in scores]
        for scores in samples
    ]
    low, high = np.quantile(statistic(*resampled), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return (None, None) if np.isclose(low, high, rtol=0, atol=1e-12) else (float(low), float(high))
