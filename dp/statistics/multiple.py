"""p values of many comparisons, corrected for their number."""

from collections.abc import Sequence


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
