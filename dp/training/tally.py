"""What one update finds out: summed up where it is computed, and asked for once."""

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dp.numerics.finite import all_finite
from dp.numerics.tensors import fetched
from dp.prompts.prompt import Choices


class Found(NamedTuple):
    """Numbers of one update, on the host."""

    loss: float
    norm: float  # of the gradient, before clipping
    finite: bool  # every parameter, behind the update
    choices: dict[str, Any]  # counts `splits` and `lengths` [P+1], mean weights `pool` [K]; None where nothing chooses


class Tally:
    """Adds up micro-batches on their device. Each transfer makes the host wait for the device, so there is one."""

    def __init__(self, vectors: int) -> None:
        """vectors: P, of the prompt."""
        self.vectors = vectors
        self.losses: list[Tensor] = []
        self.counts: dict[str, list[Tensor]] = {"splits": [], "lengths": []}
        self.pool: list[Tensor] = []

    def add(self, loss: Tensor, choices: Choices | None) -> None:
        """loss: [], of one micro-batch. choices: of its rows; None without a prompt."""
        self.losses.append(loss.detach())
        if choices is None:
            return
        for counts, chosen in zip(self.counts.values(), (choices.split, choices.length), strict=True):
            if chosen is not None:
                candidates = torch.arange(self.vectors + 1, device=chosen.device)
                counts.append((chosen[:, None] == candidates).sum(0))
        if choices.pool is not None:
            self.pool.append(choices.pool.detach())

    def fetch(self, norm: Tensor, tuned: Mapping[str, Tensor]) -> Found:
        """norm: [], of the gradient. tuned: the parameters behind the update. Waits for the device."""
        parts = {"losses": torch.stack(self.losses), "norm": norm[None], "finite": all_finite(tuned)[None]}
        parts |= {name: torch.stack(counts).sum(0) for name, counts in self.counts.items() if counts}
        if self.pool:
            parts["pool"] = torch.cat(self.pool).mean(0)
        found = fetched(parts)
        choices: dict[str, Any] = {
            name: [int(count) for count in found[name]] if name in found else None for name in self.counts
        }
        choices["pool"] = [round(weight, 4) for weight in found["pool"]] if "pool" in found else None
        # One after another: Python 3.12's `sum` rounds otherwise.
        return Found(reduce(add, found["losses"], 0.0), found["norm"][0], bool(found["finite"][0]), choices)
