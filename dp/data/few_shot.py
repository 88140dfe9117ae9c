"""Regimes (design section 7): which rows a run trains on and selects by."""

import re

from dp.data.splits import per_label
from dp.data.tokens import Split


def rows_of(regime: str, splits: dict[str, Split]) -> tuple[list[int], list[int]]:
    """(train, selection): row numbers within the two splits.

    `full` and `multitask[-<name>]`: all. `fewshot-k<k>-s<seed>`: k rows per label from train to learn from, and k per
    label from the selection split to choose by, so that few-shot stays few-shot; a label with fewer rows gives all it
    has.
    """
    match = re.fullmatch(r"fewshot-k(\d+)-s(\d+)", regime)
    if match is None:
        return list(range(len(splits["train"]))), list(range(len(splits["selection"])))
    k, seed = int(match[1]), int(match[2])
    return (
        per_label(splits["train"].rows, k, seed, "few-shot train"),
        per_label(splits["selection"].rows, k, seed, "few-shot selection"),
    )
