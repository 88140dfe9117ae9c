"""Named seeds: every random draw belongs to (run seed, purpose, step)."""

import hashlib

import torch


def derive(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed from the run's seed and every part of the purpose; seed 0 is a seed like any other."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A CPU generator for one named draw. Drawing on the CPU gives the same numbers on every device."""
    return torch.Generator().manual_seed(derive(seed, *purpose))
