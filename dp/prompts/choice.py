"""The one module through which every learned choice is made (design section 4)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dp import seeds


@dataclass(frozen=True)
class Moment:
    """When a forward pass happens: all that a random draw depends on.

    step: updates done before it. number: of the micro-batch within the update, or of the batch within the evaluation.
    rows: [B], the rows' numbers in their split. draws: whether learned choices are drawn; else they are the argmax.
    """

    seed: int
    step: int
    number: int
    rows: Tensor
    training: bool
    draws: bool
    temperature: float = 1.0

    def shared(self, purpose: str, *shape: int) -> Tensor:
        """Uniform numbers in (0, 1), float64, that the whole batch shares."""
        when = "training" if self.training else "evaluation"
        return _uniform(seeds.generator(self.seed, purpose, when, self.step, self.number), *shape)

    def each(self, purpose: str, count: int) -> Tensor:
        """Uniform numbers [B, count], float64. At evaluation a row's numbers do not depend on its batch."""
        if self.training:
            return self.shared(purpose, len(self.rows), count)
        return torch.stack(
            [
                _uniform(seeds.generator(self.seed, purpose, "evaluation", self.step, row), count)
                for row in self.rows.tolist()
            ]
        )


class Chosen(NamedTuple):
    candidate: Tensor  # [B]
    weights: Tensor | None  # [B, S], one-hot at `candidate` in value, carrying the gradient of the logits


class TaskLogits(nn.Module):
    """Free logits [S] of each task, zero at first: one choice for a whole task."""

    def __init__(self, tasks: int, candidates: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(tasks, candidates))

    def forward(self, feature: Tensor | None, tasks: Tensor) -> Tensor:
        """tasks: [B] -> [B, S]."""
        return self.logits[tasks]


class InstanceLogits(nn.Module):
    """One linear layer on the instance feature h(x), shared by all tasks: H S + S parameters."""

    def __init__(self, hidden: int, candidates: int, generator: torch.Generator) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)
        self.weight = nn.Parameter(torch.empty(candidates, hidden).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(candidates))

    def forward(self, feature: Tensor | None, tasks: Tensor) -> Tensor:
        """feature: [B, H] -> [B, S]."""
        assert feature is not None
        return nn.functional.linear(feature, self.weight, self.bias)


class Policy(nn.Module):
    """A choice among S candidates for each task (`task`) or each instance (`instance`).

    A frozen policy takes the argmax in training too, and does not learn.
    """

    def __init__(
        self, kind: str, candidates: int, tasks: int, hidden: int, generator: torch.Generator, frozen: bool, relu: bool
    ) -> None:
        super().__init__()
        instance = kind == "instance"
        self.logits = InstanceLogits(hidden, candidates, generator) if instance else TaskLogits(tasks, candidates)
        self.tasks = None if instance else tasks
        self.frozen, self.relu = frozen, relu
        self.requires_grad_(not frozen)

    def forward(self, feature: Tensor | None, tasks: Tensor, moment: Moment, purpose: str) -> Chosen:
        """feature: [B, H], read by `instance` alone. tasks: [B], the rows' tasks."""
        logits = self.logits(feature, tasks)
        if self.relu:
            logits = logits.relu()
        if self.frozen or not moment.draws:
            return Chosen(logits.argmax(1), None)
        candidates = logits.shape[1]
        if self.tasks is None:
            uniform = moment.each(purpose, candidates)
        else:
            uniform = moment.shared(purpose, self.tasks, candidates)[tasks.cpu()]
        return straight_through(logits, uniform, moment.temperature)


def straight_through(logits: Tensor, uniform: Tensor, temperature: float) -> Chosen:
    """Straight-through Gumbel-Softmax. logits: [B, S]; uniform: [B, S], a choice that rows share has equal lines.

    One Gumbel sample per batch at task level, one per instance at instance level (paper.md section 1).
    """
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))
    soft = ((logits + gumbel.to(logits)) / temperature).softmax(1)
    index = soft.argmax(1)
    hard = nn.functional.one_hot(index, logits.shape[1]).to(soft)
    return Chosen(index, hard + (soft - soft.detach()))


def temperature(step: int, start: float, floor: float, rate: float, anneal: float) -> float:
    """tau after `step` updates: each update s multiplies by exp(-rate s / anneal), so the exponents add up."""
    return max(start * math.exp(-rate / anneal * step * (step + 1) / 2), floor)


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)
