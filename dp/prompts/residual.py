"""Residual prompt tuning (Razdaibiedina et al. 2023): the prompt plus a shared bottleneck network of it."""

import math

import torch
from torch import Tensor, nn

from dp.prompts.choice import Moment
from dp.prompts.representations import Said


class Residual(nn.Module):
    """P + LayerNorm(up(relu(down(P)))), each vector by itself; the network is trained with the prompt."""

    def __init__(self, initial: Tensor, bottleneck: int, generator: torch.Generator) -> None:
        super().__init__()
        hidden = initial.shape[1]
        self.vectors = nn.Parameter(initial)
        self.down, self.up = _linear(hidden, bottleneck, generator), _linear(bottleneck, hidden, generator)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, feature: Tensor | None, tasks: Tensor, mean: Tensor, moment: Moment) -> Said:
        """tasks: [B] -> vectors [B, P, H], the same for every row."""
        vectors = self.vectors + self.norm(self.up(self.down(self.vectors).relu()))
        return Said(vectors.expand(len(tasks), -1, -1), None)


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = 1 / math.sqrt(inputs)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer
