"""Which rows a run trains on and selects by, of the splits of a task."""

from dp.data.regime import Regime
from dp.data.splits import per_label
from dp.data.tokens import Split


def rows_of(regime: Regime, splits: dict[str, Split]) -> tuple[list[int], list[int]]:
    """(train, selection): row numbers within the two splits.

    Few-shot: k rows per label from train to learn from, and k per label from the selection split to choose by, so that
    few-shot stays few-shot; a label with fewer rows gives all it has. Others: all.
    """
    train, selection = splits["train"], splits["selection"]
    if regime.k is None or regime.sample is None:
        return list(range(len(train))), list(range(len(selection)))
    return (
        per_label(train.rows, regime.k, regime.sample, "few-shot train"),
        per_label(selection.rows, regime.k, regime.sample, "few-shot selection"),
    )
