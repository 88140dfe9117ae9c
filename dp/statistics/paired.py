"""Two variants on the same examples: difference of mean accuracy with a 95 % interval and a two-sided p.

Two things were drawn, the examples and the seeds of the runs, and another draw of either would move the difference.
Which test covers what depends on what there is:

- One run each: nothing is known about seeds, so the statement is about these two tuned prompts and the examples alone.
  p is McNemar's exact one, the binomial of the examples that one of the two got right and the other did not. It takes
  examples for independent, so where several share a cluster (the answers to one paragraph) p comes from flipping the
  sign of whole clusters' differences instead. The interval is the percentile interval over resampled clusters.
- Several runs: Student's t on the variance over runs plus the variance over examples (`over_runs_and_examples`).
- Runs on several pre-training seeds of a model: the same, and a backbone's runs count as one draw. Both variants ran on
  the same backbones, so only their difference on each one counts.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from dp.statistics import bootstraps
from dp.statistics.intervals import Floats, Ints, t_quantile
from dp.statistics.p_values import mcnemar, sign_flip


class Difference(NamedTuple):
    """Shares in -1..1, p in 0..1, and the name of the test."""

    difference: float
    low: float
    high: float
    p: float
    test: str


class Sums(NamedTuple):
    """Right answers of each run by cluster, and the examples of each cluster."""

    right: Floats  # [S, G]
    size: Floats  # [G]

    @property
    def examples(self) -> float:
        return float(self.size.sum())

    @property
    def accuracies(self) -> Floats:
        """[S]."""
        return self.right.sum(axis=1) / self.examples


def compare(first: Floats, second: Floats, clusters: Ints, same_runs: bool = False, over: str = "runs") -> Difference:
    """Difference of mean accuracy, first minus second.

    first: [S, N], second: [S', N], 1 where a run got an example right; clusters: [N], each example's cluster, 0..G-1.
    same_runs: run s of one belongs to run s of the other (a seed under two conditions), so that only their difference
    counts as a draw. over: what a line of both is, as the test's name says: a run or, of shares, a backbone's runs.
    """
    one, other = by_cluster(first, clusters), by_cluster(second, clusters)
    if len(first) == len(second) == 1:
        return one_run_each(one, other)
    if same_runs:
        return over_runs_and_examples([Sums(one.right - other.right, one.size)], one, other, over)
    return over_runs_and_examples([one, other], one, other, over)


def by_cluster(right: Floats, clusters: Ints) -> Sums:
    """Of runs [S, N]."""
    count = int(clusters.max()) + 1
    sums = np.stack([np.bincount(clusters, run, count) for run in right]).astype(float)
    return Sums(sums, np.bincount(clusters, minlength=count).astype(float))


def one_run_each(one: Sums, other: Sums) -> Difference:
    """McNemar's exact test, or a sign flip of clusters; a bootstrap over clusters for the interval."""
    gained = one.right[0] - other.right[0]
    difference = float(gained.sum() / one.examples)
    low, high = bootstraps.of_difference(*_with_imaginary(gained, one.size))
    if one.size.max() == 1:
        p = mcnemar(int((gained > 0).sum()), int((gained < 0).sum()))
        return Difference(difference, low, high, p, "exact McNemar")
    return Difference(difference, low, high, sign_flip(gained), "sign flip of clusters")


def _with_imaginary(gained: Floats, size: Floats) -> tuple[Floats, Floats]:
    """Two imaginary examples, one won and one lost, are added, as in Agresti and Coull's interval: without them two
    runs that differ on no example would have an interval of no width, and a few differences one that is too narrow.
    """
    return np.append(gained, [1.0, -1.0]), np.append(size, [1.0, 1.0])


def over_runs_and_examples(drawn: list[Sums], one: Sums, other: Sums, over: str = "runs") -> Difference:
    """Student's t on the variance over runs plus that over examples.

    The design is that of multi-reader multi-case studies (Obuchowski and Rockette 1995, degrees of freedom as Hillis
    2007): runs are readers, nested in the variants, and examples are the cases that all of them read. A t test over
    seeds alone takes the examples for all there are and rejects up to 24 % of true null hypotheses where the seeds
    agree; a bootstrap of runs and examples together takes three runs for all there are and rejects up to 16 %; this one
    0.2 to 6 % (docs/statistics.md). A variant that draws nothing, and so has one run, has no variance of runs.

    drawn: what was drawn independently: both variants or, for runs that belong together, their difference.
    """
    runs, others = len(one.right), len(other.right)
    difference = (one.right.sum() * others - other.right.sum() * runs) / (runs * others * one.examples)
    difference = round(float(difference), 12) + 0.0  # of shares, equal means may differ in their last bit
    over_examples = variance_over_examples(one.right.mean(axis=0) - other.right.mean(axis=0), one.size)
    total = over_examples
    squares = over_examples**2 / (len(one.size) - 1)
    for sums in drawn:
        count = len(sums.right)
        if count > 1:
            between = float(np.var(sums.accuracies, ddof=1)) / count
            total += max(between - interaction(sums), 0.0)
            squares += between**2 / (count - 1)
    freedom = total**2 / squares
    error = total**0.5
    half = t_quantile(freedom) * error
    p = 2 * float(stats.t.sf(abs(difference) / error, freedom))
    return Difference(difference, max(difference - half, -1.0), min(difference + half, 1.0), p,
                      f"t over {over} and examples")  # fmt: skip


def variance_over_examples(gained: Floats, size: Floats) -> float:
    """Of a share whose clusters have `gained` [G] of `size` [G], with the two imaginary examples."""
    gained, size = _with_imaginary(gained, size)
    clusters, examples = len(gained), size.sum()
    residual = gained - gained.sum() / examples * size
    return float(clusters / (clusters - 1) * (residual**2).sum() / examples**2)


def interaction(sums: Sums) -> float:
    """The part of a mean's variance that is due to runs differing on single examples; counted with the examples."""
    runs, clusters = sums.right.shape
    by_run = sums.accuracies[:, None] - sums.accuracies.mean()
    residual = sums.right - sums.right.mean(axis=0) - by_run * sums.size
    return float((residual**2).sum() / ((runs - 1) * (clusters - 1)) * clusters / runs / sums.examples**2)
