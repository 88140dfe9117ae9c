"""Runs, rows and records in groups, in the order in which groups occur."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from dp.results.runs import Run

T = TypeVar("T")
K = TypeVar("K")
Key = tuple[str, str, int | None, str, str]


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def by_row(runs: Iterable[Run]) -> dict[Key, list[Run]]:
    """By (backbone, regime, k, task, variant): those that differ in training seed or sample seed alone."""
    return grouped(runs, lambda run: (run.cell.backbone, run.regime, run.k, run.cell.task, run.cell.variant))


def by_cell(runs: Iterable[Run]) -> dict[tuple[str, str, str, str], list[Run]]:
    """By (backbone, regime, task, variant), the regime by its full name: those that differ in seed alone."""
    return grouped(runs, lambda run: (run.cell.backbone, run.cell.regime, run.cell.task, run.cell.variant))
