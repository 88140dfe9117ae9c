"""Named seeds: every random draw belongs to (run seed, purpose, step)."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed from the run's seed and every part of the purpose; seed 0 is a seed like any other."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> "torch.Generator":
    """A CPU generator for one named draw. Drawing on the CPU gives the same numbers on every device."""
    import torch  # here, so that the workflow, which only derives, starts without it

    return torch.Generator().manual_seed(derive(seed, *purpose))


def other_row(count: int, seed: int, *purpose: str | int) -> "torch.Tensor":
    """[count]: for each row another row, drawn as one cycle through all of them, so that none keeps its own."""
    import torch

    cycle = torch.randperm(count, generator=generator(seed, *purpose))
    other = torch.empty_like(cycle)
    other[cycle] = cycle.roll(-1)
    return other
