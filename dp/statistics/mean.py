"""The mean of a few values that may be negative, with Student's t interval."""

from collections.abc import Sequence

from scipy import stats

from dp.statistics import LEVEL


def t_interval(values: Sequence[float]) -> tuple[float, float] | tuple[None, None]:
    """95 % interval of the mean; (None, None) where the values do not say how they spread: one, or all equal."""
    if len(set(values)) < 2:
        return None, None
    interval = stats.ttest_1samp(values, 0).confidence_interval(LEVEL)
    return float(interval.low), float(interval.high)
