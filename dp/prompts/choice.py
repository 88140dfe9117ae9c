"""The one module through which every learned choice is made (design section 4)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dp import seeds


@dataclass(frozen=True)
class Moment:
    """When a forward pass happens: what a policy needs for its random draws.

    `step` is None at evaluation, where every choice is the argmax. `rows` [B] are the rows' numbers in their split.
    """

    seed: int
    step: int | None
    micro_batch: int
    temperature: float
    rows: Tensor

    def generator(self, purpose: str) -> torch.Generator:
        assert self.step is not None
        return seeds.generator(self.seed, purpose, self.step, self.micro_batch)


class Chosen(NamedTuple):
    candidate: Tensor  # [B]
    weights: Tensor | None  # [B, S], one-hot at `candidate` in value, carrying the gradient of the logits


class TaskLogits(nn.Module):
    """Free logits, one choice for the whole task: S extra parameters."""

    def __init__(self, candidates: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(1, candidates))

    def forward(self, feature: Tensor | None) -> Tensor:
        """[1, S]."""
        return self.logits


class InstanceLogits(nn.Module):
    """One linear layer on the instance feature h(x): H S + S extra parameters."""

    def __init__(self, hidden: int, candidates: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)
        self.weight = nn.Parameter(torch.empty(candidates, hidden).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(candidates))

    def forward(self, feature: Tensor | None) -> Tensor:
        """feature: [B, H] -> [B, S]."""
        assert feature is not None
        return nn.functional.linear(feature, self.weight, self.bias)


def choose(logits: Tensor, moment: Moment, purpose: str) -> Chosen:
    """Straight-through Gumbel-Softmax in training, argmax at evaluation.

    logits: [B, S], or [1, S] for a choice that the whole batch shares; the shared choice takes one Gumbel sample per
    batch, an instance's choice one per instance (paper.md section 1).
    """
    batch = len(moment.rows)
    if moment.step is None:
        return Chosen(logits.argmax(1).expand(batch), None)
    uniform = torch.rand(logits.shape, generator=moment.generator(purpose), dtype=torch.float64)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))
    soft = ((logits + gumbel.to(logits)) / moment.temperature).softmax(1)
    index = soft.argmax(1)
    hard = nn.functional.one_hot(index, logits.shape[1]).to(soft)
    weights = hard + soft - soft.detach()
    return Chosen(index.expand(batch), weights.expand(batch, -1))


def temperature(step: int, start: float, floor: float, rate: float, anneal: float) -> float:
    """tau after `step` updates: each update s multiplies by exp(-rate s / anneal), so the exponents add up."""
    return max(start * math.exp(-rate / anneal * step * (step + 1) / 2), floor)
