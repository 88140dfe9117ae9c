"""Batches by length, or plainly shuffled, padded to their longest row; rows of several tasks are mixed by n^alpha."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from dp.data.tokens import Split
from dp.numerics import seeds
from dp.numerics.tensors import sent

WINDOW = 64  # batches that are sorted by length together, at most: longer windows pad less and mix less


@dataclass(frozen=True)
class Batch:
    ids: Tensor  # [B, T], right-padded
    mask: Tensor  # [B, T]
    labels: Tensor  # [B]
    features: Tensor | None  # [B, H]
    rows: Tensor  # [B], row numbers in the split
    outputs: Tensor  # [B, C], as in Split
    tails: Tensor  # [B], as in Split
    answers: Tensor | None  # [B, A], right-padded with -1; None where no row has any
    tasks: Tensor  # [B], as in Split
    padded: bool  # whether a row is shorter than T

    def to(self, device: str) -> "Batch":
        return self._each(lambda value: sent(value, device))

    def repeated(self, copies: int) -> "Batch":
        """All rows, `copies` times in a row."""
        return self if copies == 1 else self._each(lambda value: value.repeat(copies, *[1] * (value.dim() - 1)))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        changed: dict[str, Any] = {
            key: change(value) if isinstance(value, Tensor) else value for key, value in vars(self).items()
        }
        return Batch(**changed)


def collate(split: Split, numbers: list[int], features: Tensor | None = None, width: int | None = None) -> Batch:
    """One batch of the rows `numbers`. features: [rows of the split, H]. Padding has id 0, which the mask hides.

    T is the longest row's length, or `width`. Raises ValueError for a width that a row does not fit in.
    """
    chosen = split.take(numbers)
    ids = pad_sequence(chosen.ids, batch_first=True)
    longest = ids.shape[1]
    if width is not None:
        if width < longest:
            raise ValueError(f"width {width} is less than the longest row's {longest} tokens")
        ids = functional.pad(ids, (0, width - longest))
    lengths = torch.tensor([len(row) for row in chosen.ids])
    answers = pad_sequence(chosen.answers, batch_first=True, padding_value=-1)
    return Batch(
        ids=ids,
        mask=(torch.arange(ids.shape[1]) < lengths[:, None]).long(),
        labels=torch.tensor([row["label"] for row in chosen.rows]),
        features=None if features is None else features[numbers],
        rows=torch.tensor(numbers),
        outputs=chosen.outputs,
        tails=chosen.tails,
        answers=answers if answers.shape[1] else None,
        tasks=chosen.tasks,
        padded=int(lengths.min()) < ids.shape[1],
    )


def training_batches(
    lengths: list[int],
    batch_size: int,
    steps: int,
    seed: int,
    tasks: Sequence[int] | None = None,
    alpha: float = 1.0,
    cap: int | None = None,
    plain: bool = False,
    order: int | None = None,
) -> list[list[int]]:
    """Row numbers of every batch, by step.

    Epoch after epoch in a fresh order; every window of WINDOW batches (at most an epoch) is sorted by length, cut into
    batches, and the batches are shuffled. All batches are full, so an epoch's end falls inside one. Depends on the
    arguments alone, so a resumed run sees the same batches.

    plain: batches are cut from the epochs as they are, and nothing is sorted.

    order: the seed of how the batches of a window are shuffled, None: `seed`. Runs of one order have rows of their own
    and, at the same step, batches of much the same length.

    tasks: the task number of each row. Every place in a window is then given to a task, drawn by `mixing_shares`, and
    each task has epochs of its own.
    """
    wide = 1 if plain else min(WINDOW, max(1, len(lengths) // batch_size))
    if tasks is None:
        stream = _epochs(list(range(len(lengths))), seed)
    else:
        stream = _mixed(tasks, wide * batch_size, seed, alpha, cap)
    batches: list[list[int]] = []
    for window in count():
        if len(batches) >= steps:
            break
        rows = list(islice(stream, wide * batch_size))
        if not plain:
            rows.sort(key=lambda row: lengths[row])
        shuffling = seeds.generator(seed if order is None else order, "batch order", window)
        shuffled = torch.randperm(wide, generator=shuffling).tolist()
        batches += [rows[b * batch_size : (b + 1) * batch_size] for b in shuffled]
    return batches[:steps]


def mixing_shares(sizes: Sequence[int], alpha: float, cap: int | None) -> list[float]:
    """Each task's share of a mixed stream, proportional to min(rows, cap)^alpha.

    alpha 1 mixes by size, 0 evenly. Raises ValueError for a task without rows.
    """
    if min(sizes) < 1:
        raise ValueError(f"a task has no rows: {list(sizes)}")
    weights = [(size if cap is None else min(size, cap)) ** alpha for size in sizes]
    return [weight / sum(weights) for weight in weights]


def _epochs(rows: list[int], seed: int, *task: int) -> Iterator[int]:
    """The rows without end, each epoch in an order of its own."""
    for epoch in count():
        order = torch.randperm(len(rows), generator=seeds.generator(seed, "epoch order", *task, epoch))
        yield from (rows[i] for i in order.tolist())


def _mixed(tasks: Sequence[int], places: int, seed: int, alpha: float, cap: int | None) -> Iterator[int]:
    """Rows without end: `places` tasks are drawn at a time, and each gives the next row of its own epochs."""
    members: list[list[int]] = [[] for _ in range(max(tasks) + 1)]
    for row, task in enumerate(tasks):
        members[task].append(row)
    shares = torch.tensor(mixing_shares([len(rows) for rows in members], alpha, cap), dtype=torch.float64)
    epochs = [_epochs(rows, seed, task) for task, rows in enumerate(members)]
    for window in count():
        generator = seeds.generator(seed, "task mixture", window)
        drawn = torch.multinomial(shares, places, replacement=True, generator=generator)
        yield from (next(epochs[task]) for task in drawn.tolist())


def evaluation_batches(lengths: list[int], batch_size: int, longest: int, beside: int = 0) -> list[list[int]]:
    """Every row once, sorted by length, in batches of as many positions as `batch_size` rows of `longest` tokens have.

    So short rows come in larger batches. beside: positions that each row takes besides its own, for a prompt. A row
    that is longer than all of them has a batch of its own.
    """
    most, batches = batch_size * (longest + beside), list[list[int]]()
    for row in sorted(range(len(lengths)), key=lambda row: lengths[row]):
        if not batches or (len(batches[-1]) + 1) * (lengths[row] + beside) > most:
            batches.append([])
        batches[-1].append(row)
    return batches


def padding_share(batches: list[list[int]], lengths: list[int], width_of: Callable[[int], int] = int) -> float:
    """Share of the positions of all batches that hold padding. width_of: of a batch, by its longest row."""
    text = sum(lengths[row] for batch in batches for row in batch)
    positions = sum(len(batch) * width_of(max(lengths[row] for row in batch)) for batch in batches)
    return 1 - text / positions
