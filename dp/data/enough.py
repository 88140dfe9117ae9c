"""Whether the splits of a task are large enough to train on, to select by and to report, before any of it is done."""

from collections import Counter
from typing import Any

from dp.errors import UserError

Rows = list[dict[str, Any]]
LARGER = {
    "train": "Raise rows.train, lower rows.selection_fraction, or give the task more rows",
    "selection": "Raise rows.selection or rows.selection_fraction, or give the task more rows",
    "validation": "Raise rows.report, or give the task more rows",
}
"""Split -> what makes it larger; the keys are the scale's."""


def check(splits: dict[str, Rows], official: Rows, label_names: list[str], ks: list[int], selects: bool) -> None:
    """Raises UserError that names split, number and remedy.

    official: the train split before selection was carved from it. ks: the k of the scale's few-shot regimes on this
    task. selects: whether any run is selected by the selection split (not under select_on_reported).
    """
    for split, rows in splits.items():
        counts = Counter(row["label"] for row in rows)
        if len(counts) < (2 if selects or split != "selection" else 1):
            alone = f", all of the class '{label_names[rows[0]['label']]}'" if rows else ""
            raise UserError(
                f"{split} has {len(rows)} rows{alone}, so there is nothing to tell apart (the official train split has "
                f"{len(official)}). {_remedy(split, official)}."
            )
    counts = Counter(row["label"] for row in splits["train"])
    for label, count in sorted(Counter(row["label"] for row in official).items()):
        if not counts[label]:
            raise UserError(
                f"train has no row of the class '{label_names[label]}', of {count} in the official split: selection or "
                f"rows.train left none. {LARGER['train']}."
            )
    most = max(counts.values())
    for k in ks:
        if k > most:
            raise UserError(
                f"few-shot k = {k} asks for more rows than train has of any class, {most} at most: that would be the "
                "whole split under another name. Lower k, or give the task more rows."
            )


def _remedy(split: str, official: Rows) -> str:
    """Rows of one cluster stay together: a fraction that is smaller than every cluster holds none."""
    clusters = Counter(row["cluster"] for row in official)
    smallest = min(clusters.values(), default=1)
    if split == "selection" and smallest > 1:
        return (
            f"Rows of one paragraph stay together: let rows.selection_fraction be over {smallest / len(official):.3f}"
        )
    return LARGER[split]
