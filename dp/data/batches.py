"""Length-bucketed batches, padded only to their own longest row."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dp import seeds
from dp.data.tokens import Split

WINDOW = 64  # batches that are sorted by length together, at most: longer windows pad less and mix less


@dataclass(frozen=True)
class Batch:
    ids: Tensor  # [B, T], right-padded
    mask: Tensor  # [B, T]
    labels: Tensor  # [B]
    features: Tensor | None  # [B, H]
    rows: Tensor  # [B], row numbers in the split

    def to(self, device: str) -> "Batch":
        features = None if self.features is None else self.features.to(device)
        moved = (self.ids.to(device), self.mask.to(device), self.labels.to(device), features, self.rows.to(device))
        return Batch(*moved)


def collate(split: Split, numbers: list[int], features: Tensor | None = None) -> Batch:
    """One batch of the rows `numbers`. features: [rows of the split, H]. Padding has id 0, which the mask hides."""
    ids = [split.ids[i] for i in numbers]
    padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    lengths = torch.tensor([len(row) for row in ids])
    mask = (torch.arange(padded.shape[1]) < lengths[:, None]).long()
    labels = torch.tensor([split.rows[i]["label"] for i in numbers])
    chosen = None if features is None else features[numbers]
    return Batch(padded, mask, labels, chosen, torch.tensor(numbers))


def training_batches(lengths: list[int], batch_size: int, steps: int, seed: int) -> list[list[int]]:
    """Row numbers of every batch, by step.

    Epoch after epoch in a fresh order; every window of WINDOW batches (at most an epoch) is sorted by length, cut into
    batches, and the batches are shuffled. All batches are full, so an epoch's end falls inside one. Depends on the
    arguments alone, so a resumed run sees the same batches.
    """
    batches: list[list[int]] = []
    stream: list[int] = []
    epoch = window = 0
    wide = min(WINDOW, max(1, len(lengths) // batch_size))
    while len(batches) < steps:
        while len(stream) < wide * batch_size:
            stream += torch.randperm(len(lengths), generator=seeds.generator(seed, "epoch order", epoch)).tolist()
            epoch += 1
        head, stream = stream[: wide * batch_size], stream[wide * batch_size :]
        head.sort(key=lambda row: lengths[row])
        order = torch.randperm(wide, generator=seeds.generator(seed, "batch order", window)).tolist()
        batches += [head[b * batch_size : (b + 1) * batch_size] for b in order]
        window += 1
    return batches[:steps]


def evaluation_batches(lengths: list[int], batch_size: int) -> list[list[int]]:
    """Every row once, sorted by length."""
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def padding_share(batches: list[list[int]], lengths: list[int]) -> float:
    """Share of the positions of all batches that hold padding."""
    text = sum(lengths[row] for batch in batches for row in batch)
    positions = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    return 1 - text / positions
