"""P-tuning v2 (Liu et al. 2021): a learned key/value prefix in every self-attention of the frozen backbone."""

import torch
from torch import Tensor, nn

from dp.numerics import seeds


class Prefix(nn.Module):
    """2 L P heads dim parameters, drawn from N(0, std), without the reparametrisation network that v2 dropped."""

    def __init__(self, layers: int, length: int, heads: int, dim: int, std: float, seed: int) -> None:
        super().__init__()
        generator = seeds.generator(seed, "prefix initialisation")
        self.vectors = nn.Parameter(torch.randn(layers, 2, heads, length, dim, generator=generator) * std)

    def forward(self, batch: int) -> list[tuple[Tensor, Tensor]]:
        """Key and value [B, heads, P, dim] of every layer."""
        return [(key.expand(batch, -1, -1, -1), value.expand(batch, -1, -1, -1)) for key, value in self.vectors]
