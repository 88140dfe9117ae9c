"""95 % intervals: Wilson over independent examples, a bootstrap over clusters of them, Student's t over runs."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dp.numerics.seeds import derive

LEVEL = 0.95
RESAMPLES = 1000
Floats = NDArray[np.float64]


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of the share right / n of independent examples."""
    interval = stats.binomtest(right, n).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def cluster_bootstrap(sums: Floats, statistic: Callable[[Floats], Floats]) -> tuple[float, float]:
    """Percentile interval of a statistic over clusters drawn with replacement.

    `sums` [G, S] holds S additive counts of each of G clusters; `statistic` maps their totals [R, S] to [R]. The draw
    depends on G alone, so all metrics of one evaluation see the same resamples. Where every cluster says the same, the
    interval has no width.
    """
    clusters = len(sums)
    drawn = np.random.default_rng(derive(0, "cluster bootstrap")).integers(clusters, size=(RESAMPLES, clusters))
    offsets = clusters * np.arange(RESAMPLES)[:, None]
    weights = np.bincount((drawn + offsets).ravel(), minlength=RESAMPLES * clusters).reshape(RESAMPLES, clusters)
    low, high = np.quantile(statistic(weights.astype(float) @ sums), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def over_runs(values: Sequence[float]) -> tuple[float, float]:
    """Student's t interval of the mean of at least two runs of a metric, clipped to the metric's range 0..1."""
    spread = float(stats.sem(values))
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(values) - 1)) * spread
    centre = float(np.mean(values))
    return max(centre - half, 0.0), min(centre + half, 1.0)
