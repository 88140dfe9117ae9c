"""What the prompt says: its vectors (design section 4)."""

import torch
from torch import Tensor, nn


def initial_vectors(kind: str, bound: float, length: int, vocabulary: Tensor, generator: torch.Generator) -> Tensor:
    """[P, H]: the first rows of the vocabulary table [V, H], or uniform(-bound, bound). Float32."""
    if kind == "vocabulary":
        return vocabulary[:length].detach().float().clone()
    return torch.empty(length, vocabulary.shape[1]).uniform_(-bound, bound, generator=generator)


class Single(nn.Module):
    """One prompt for every input."""

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(initial)

    def forward(self, batch: int) -> Tensor:
        """[B, P, H]."""
        return self.vectors.expand(batch, -1, -1)
