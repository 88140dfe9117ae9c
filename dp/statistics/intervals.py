"""95 % intervals: Wilson's of a share, percentiles of what was resampled, Student's t of means."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dp.statistics import LEVEL

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]


def wilson(right: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of the share right / n of independent examples."""
    interval = stats.binomtest(right, n).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def percentiles(resampled: Floats) -> tuple[float, float]:
    """Of a statistic's values [R] over resamples."""
    low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def t_quantile(freedom: float) -> float:
    """Of Student's t for a two-sided interval; of the normal distribution where the degrees of freedom are infinite."""
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


@dataclass(frozen=True)
class Mean:
    """A mean, the variance of that mean, and its degrees of freedom (infinite: nothing was estimated from runs)."""

    mean: float
    variance: float
    freedom: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Mean":
        """Of at least two values."""
        return cls(fmean(values), variance(values) / len(values), len(values) - 1)

    @property
    def interval(self) -> tuple[float, float]:
        half = t_quantile(self.freedom) * self.variance**0.5
        return self.mean - half, self.mean + half

    def clipped(self, most: float) -> tuple[float, float]:
        """The interval within 0..most."""
        low, high = self.interval
        return max(low, 0.0), min(high, most)


def combined(parts: Sequence[Mean], weights: Sequence[float]) -> Mean:
    """The weighted sum of independent means, with Welch and Satterthwaite's degrees of freedom."""
    variances = [weight**2 * part.variance for part, weight in zip(parts, weights, strict=True)]
    total = sum(variances)
    spent = sum(one**2 / part.freedom for one, part in zip(variances, parts, strict=True))
    mean = sum(weight * part.mean for part, weight in zip(parts, weights, strict=True))
    return Mean(mean, total, total**2 / spent if spent else inf)


def of_values(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """Of the mean of values that may be negative; (None, None) where they do not say how they spread: one, or equal."""
    return Mean.of(values).interval if len(set(values)) > 1 else (None, None)


def of_runs(values: Sequence[float]) -> tuple[float, float]:
    """Of the mean of at least two runs of a metric, clipped to the metric's range 0..1."""
    return Mean.of(values).clipped(1.0)
