"""Drawing rows: the selection split carved from train, and named subsets (design section 8); rows of each class."""

from collections import Counter, defaultdict
from typing import Any

import torch

from dp.numerics import seeds
from dp.numerics.shares import largest_remainder

Row = dict[str, Any]
REPORTED = "validation"
"""The split that numbers are of."""


def carve(rows: list[Row], fraction: float, seed: int) -> tuple[list[int], list[int]]:
    """(train, selection): row numbers, in order. Selection is about `fraction` of the rows, stratified by label.

    Rows that share a cluster (the answers to one MultiRC paragraph) stay on one side: whole clusters are drawn there.
    """
    selection = draw(rows, max(1, round(fraction * len(rows))), seed, "selection split")
    chosen = set(selection)
    return [i for i in range(len(rows)) if i not in chosen], selection


def draw(rows: list[Row], count: int | None, seed: int, purpose: str) -> list[int]:
    """At most `count` row numbers (None: all), in order.

    Stratified by label, or whole clusters where rows share one. Strata keep their shares by largest remainder; every
    label keeps at least one row while `count` allows it.
    """
    if count is None or count >= len(rows):
        return list(range(len(rows)))
    if len({row["cluster"] for row in rows}) < len(rows):
        return _whole_clusters(rows, count, seed, purpose)
    strata = _by(rows, "label")
    sizes = {label: len(members) for label, members in strata.items()}
    quota = largest_remainder(sizes, count, least=int(count >= len(sizes)))
    return sorted(
        i for label, members in strata.items() for i in _shuffled(members, seed, purpose, label)[: quota[label]]
    )


def per_label(rows: list[Row], k: int, seed: int, purpose: str) -> list[int]:
    """k row numbers of each label (all of a label that has fewer), in order."""
    strata = _by(rows, "label")
    return sorted(i for label, members in strata.items() for i in _shuffled(members, seed, purpose, label)[:k])


def label_counts(rows: list[Row], classes: int) -> list[int]:
    """Rows of each class, in class order."""
    counts = Counter(row["label"] for row in rows)
    return [counts[label] for label in range(classes)]


def _by(rows: list[Row], key: str) -> dict[Any, list[int]]:
    found: dict[Any, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        found[row[key]].append(i)
    return dict(sorted(found.items()))


def _shuffled(members: list[int], seed: int, *purpose: Any) -> list[int]:
    order = torch.randperm(len(members), generator=seeds.generator(seed, *purpose))
    return [members[i] for i in order]


def _whole_clusters(rows: list[Row], count: int, seed: int, purpose: str) -> list[int]:
    clusters = _by(rows, "cluster")
    chosen: list[int] = []
    for name in [list(clusters)[i] for i in _shuffled(list(range(len(clusters))), seed, purpose)]:
        if len(chosen) + len(clusters[name]) <= count:
            chosen += clusters[name]
    return sorted(chosen)
