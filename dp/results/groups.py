"""Runs, rows and records in groups, in the order in which groups occur."""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from dp.results.runs import Run

T = TypeVar("T")
K = TypeVar("K")


class Key(NamedTuple):
    """What a row of a table is about, as its first columns; `_asdict` makes them."""

    backbone: str
    regime: str
    k: int | None
    task: str
    variant: str


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def by_row(runs: Iterable[Run]) -> dict[Key, list[Run]]:
    """Those that differ in seeds alone: of training, of the sample, and of a model's pre-training."""
    return grouped(runs, lambda run: Key(run.model, run.regime, run.k, run.cell.task, run.cell.variant))


def by_backbone(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Of one row: the runs on each pre-training seed of its model."""
    return grouped(runs, lambda run: run.cell.backbone)


def by_cell(runs: Iterable[Run]) -> dict[Key, list[Run]]:
    """Those that differ in the seeds of training and pre-training alone: the regime goes by its full name."""
    return grouped(runs, lambda run: Key(run.model, run.cell.regime, run.k, run.cell.task, run.cell.variant))
