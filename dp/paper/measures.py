"""Means of runs in percent with their 95 % intervals: of one cell, of the mean over cells, of a difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from statistics import fmean, variance

from scipy import stats

from dp.results.runs import Run
from dp.results.table import accuracies, summary
from dp.statistics.intervals import LEVEL

METRIC = "accuracy"


@dataclass(frozen=True)
class Measured:
    """A mean in percent, the variance of that mean, and its degrees of freedom (infinite: over examples)."""

    mean: float
    variance: float
    freedom: float

    @property
    def interval(self) -> tuple[float, float]:
        half = quantile(self.freedom) * self.variance**0.5
        return self.mean - half, self.mean + half


def quantile(freedom: float) -> float:
    """Of Student's t, for a two-sided 95 % interval."""
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def percentages(members: Sequence[Run]) -> list[float]:
    return [100 * share for share in accuracies(members)]


def of_cell(members: Sequence[Run]) -> tuple[float, float, float]:
    """(mean, low, high) in percent, as in results.csv."""
    found = summary(list(members), METRIC)
    return 100 * found["mean"], 100 * found["low"], 100 * found["high"]


def of_groups(groups: Sequence[Sequence[Run]]) -> Measured:
    """The mean over groups (tasks, and k) of their means over runs.

    Where the same seeds ran in every group, and their means over groups differ: t over these means. Otherwise the
    variances of the groups are added, with Welch's degrees of freedom.
    """
    by_seed = [dict(zip(map(_seed, members), percentages(members), strict=True)) for members in groups]
    if all(set(one) == set(by_seed[0]) for one in by_seed):
        means = [fmean(one[seed] for one in by_seed) for seed in by_seed[0]]
        if len(set(means)) > 1:
            return Measured(fmean(means), variance(means) / len(means), len(means) - 1)
    return _sum([_of_group(members) for members in groups], 1 / len(groups))


def difference(one: Measured, other: Measured) -> Measured:
    """one - other, with Welch's degrees of freedom."""
    both = _sum([one, other], 1)
    return Measured(one.mean - other.mean, both.variance, both.freedom)


def one_more(members: Sequence[Run]) -> tuple[float, float] | None:
    """Where one more run would lie with 95 % (Student's t, within 0..100); None where runs do not differ."""
    values = percentages(members)
    if len(set(values)) < 2:
        return None
    half = quantile(len(values) - 1) * (variance(values) * (1 + 1 / len(values))) ** 0.5
    return max(fmean(values) - half, 0.0), min(fmean(values) + half, 100.0)


def _of_group(members: Sequence[Run]) -> Measured:
    """Over runs where they differ; else the normal distribution as wide as their interval over examples."""
    values = percentages(members)
    if len(set(values)) > 1:
        return Measured(fmean(values), variance(values) / len(values), len(values) - 1)
    mean, low, high = of_cell(members)
    return Measured(mean, ((high - low) / 2 / quantile(inf)) ** 2, inf)


def _sum(parts: Sequence[Measured], weight: float) -> Measured:
    """Of independent parts, each times the weight (Welch-Satterthwaite)."""
    variances = [weight**2 * part.variance for part in parts]
    total = sum(variances)
    spent = sum(one**2 / part.freedom for one, part in zip(variances, parts, strict=True))
    return Measured(weight * sum(part.mean for part in parts), total, total**2 / spent if spent else inf)


def _seed(run: Run) -> tuple[int | None, int]:
    """(sample seed of few-shot, training seed)"""
    return run.cell.parsed_regime.sample, run.cell.seed
