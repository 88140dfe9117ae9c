"""Means of runs in percent with their 95 % intervals: of one cell, of the mean over cells, of a difference."""

from collections.abc import Sequence
from math import inf
from statistics import fmean, variance

from dp.results.runs import Run
from dp.results.table import accuracies, summary
from dp.statistics.intervals import Mean, combined, t_quantile

METRIC = "accuracy"


def percentages(members: Sequence[Run]) -> list[float]:
    return [100 * share for share in accuracies(members)]


def of_cell(members: Sequence[Run]) -> tuple[float, float, float]:
    """(mean, low, high) in percent, as in results.csv."""
    measured = summary(list(members), METRIC)
    return 100 * measured["mean"], 100 * measured["low"], 100 * measured["high"]


def of_groups(groups: Sequence[Sequence[Run]]) -> Mean:
    """The mean over groups (tasks, and k) of their means over runs.

    Where the same seeds ran in every group, and their means over groups differ: t over these means. Otherwise the
    variances of the groups are added, with Welch's degrees of freedom.
    """
    by_seed = [dict(zip(map(_seed, members), percentages(members), strict=True)) for members in groups]
    if all(set(one) == set(by_seed[0]) for one in by_seed):
        means = [fmean(one[seed] for one in by_seed) for seed in by_seed[0]]
        if len(set(means)) > 1:
            return Mean.of(means)
    return combined([_of_group(members) for members in groups], [1 / len(groups)] * len(groups))


def difference(one: Mean, other: Mean) -> Mean:
    """one - other, with Welch's degrees of freedom."""
    return combined([one, other], [1, -1])


def one_more(members: Sequence[Run]) -> tuple[float, float] | None:
    """Where one more run would lie with 95 % (Student's t, within 0..100); None where runs do not differ."""
    values = percentages(members)
    if len(set(values)) < 2:
        return None
    return Mean(fmean(values), variance(values) * (1 + 1 / len(values)), len(values) - 1).clipped(100.0)


def _of_group(members: Sequence[Run]) -> Mean:
    """Over runs where they differ; else the normal distribution as wide as their interval over examples."""
    values = percentages(members)
    if len(set(values)) > 1:
        return Mean.of(values)
    mean, low, high = of_cell(members)
    return Mean(mean, ((high - low) / 2 / t_quantile(inf)) ** 2, inf)


def _seed(run: Run) -> tuple[int | None, int]:
    """(sample seed of few-shot, training seed)"""
    return run.cell.parsed_regime.sample, run.cell.seed
