"""p values of single comparisons, and of many, corrected for their number."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
from scipy import stats

from dp.numerics.seeds import derive
from dp.statistics.intervals import Floats, Mean, combined

FLIPS = 9999


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided, exact: of the examples that one of two runs got right and the other did not."""
    return float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def sign_flip(gained: Floats) -> float:
    """Two-sided p that the differences of clusters [G] have no direction; exact where there are few clusters."""
    told = gained[gained != 0]
    if not len(told):
        return 1.0
    test = stats.permutation_test(
        (told, np.zeros_like(told)), lambda x, y, axis: (x - y).sum(axis=axis), permutation_type="samples",
        vectorized=True, n_resamples=FLIPS, rng=np.random.default_rng(derive(0, "sign flip of clusters")),
    )  # fmt: skip
    return float(test.pvalue)


def gap(runs: Sequence[float], against: Sequence[float], examples: int, paired: bool = False) -> Mean:
    """Mean accuracy of `runs` minus that of `against`, with its variance over them.

    Not paired, Welch's: runs of one seed share the order of the batches and little else, so pairing would halve the
    degrees of freedom and remove next to no variance. Paired where they are means on the same backbones. Values, or
    paired differences, that agree exactly tell nothing about their spread; as in results.csv, theirs is the binomial
    one of a single run over its examples, (right + 2) / (n + 4) of them right.
    """

    def binomial(values: Sequence[float]) -> Mean:
        share = (fmean(values) * examples + 2) / (examples + 4)
        return Mean(fmean(values), share * (1 - share) / examples, examples - 1)

    if paired:
        differences = [round(one - other, 12) for one, other in zip(runs, against, strict=True)]
        if len(set(differences)) > 1:
            return Mean.of(differences)
        return combined([binomial(runs), binomial(against)], [1, -1])
    return combined([Mean.of(side) if len(set(side)) > 1 else binomial(side) for side in (runs, against)], [1, -1])


def p_better(gap: Mean) -> float:
    """One-sided p that the first of a gap is better."""
    return float(stats.t.sf(gap.mean / gap.variance**0.5, gap.freedom))


def p_equivalent(gap: Mean, margin: float) -> float:
    """p of two one-sided t tests (Schuirmann 1987) that a gap lies within -margin..margin: the larger of the two."""
    nearest = (margin - abs(gap.mean)) / gap.variance**0.5
    return float(stats.t.sf(nearest, gap.freedom))


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected by Holm's step-down procedure, which holds for dependent tests too, in the order given.

    A row is called different at 5 % where the corrected value is below 0.05: the chance that any of the true null
    hypotheses of the family is rejected is then at most 5 %.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, number in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min((len(p_values) - rank) * p_values[number], 1.0))
        corrected[number] = largest
    return corrected
