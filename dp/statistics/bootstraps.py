"""Percentile intervals over what is drawn again: clusters of examples, or the runs of each task."""

from collections.abc import Callable, Sequence

import numpy as np

from dp.numerics.seeds import derive
from dp.statistics.intervals import Floats, Ints, percentiles

RESAMPLES = 2000
OF_METRICS = 1000
Scores = Sequence[Floats]  # by task: [..., S_t]


def over_clusters(sums: Floats, statistic: Callable[[Floats], Floats]) -> tuple[float, float]:
    """Of a metric: clusters are drawn with replacement.

    `sums` [G, S] holds S additive counts of each of G clusters; `statistic` maps their totals [R, S] to [R]. The draw
    depends on G alone, so all metrics of one evaluation see the same resamples. Where every cluster says the same, the
    interval has no width.
    """
    clusters = len(sums)
    drawn = np.random.default_rng(derive(0, "cluster bootstrap")).integers(clusters, size=(OF_METRICS, clusters))
    offsets = clusters * np.arange(OF_METRICS)[:, None]
    weights = np.bincount((drawn + offsets).ravel(), minlength=OF_METRICS * clusters).reshape(OF_METRICS, clusters)
    return percentiles(statistic(weights.astype(float) @ sums))


def of_difference(gained: Floats, size: Floats) -> tuple[float, float]:
    """Of the share gained.sum() / size.sum(): clusters [G] are drawn with replacement."""
    clusters = len(gained)
    draw = np.random.default_rng(derive(0, "paired bootstrap"))
    weights = draw.multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES)
    return percentiles(weights @ gained / (weights @ size))


def over_runs(
    statistic: Callable[..., Floats], *samples: Scores, together: bool = False
) -> tuple[float, float] | tuple[None, None]:
    """Of a statistic of one sample (a variant's scores) or several: runs are drawn within each task (strata).

    together: number s is of the same backbone in every task and sample, so backbones are drawn, each with all of it.
    (None, None) where it has no width, which would claim a certainty that nobody has: with one run per task, runs that
    agree, or, for the probability of improvement, runs that do not overlap.
    """
    draw = np.random.default_rng(derive(0, "stratified bootstrap"))

    def numbers(count: int) -> Ints:
        return draw.integers(count, size=(RESAMPLES, count))

    shared = numbers(len(samples[0][0])) if together else None
    resampled = [
        [of_task[numbers(len(of_task)) if shared is None else shared] for of_task in scores] for scores in samples
    ]
    low, high = percentiles(statistic(*resampled))
    return (None, None) if np.isclose(low, high, rtol=0, atol=1e-12) else (low, high)
