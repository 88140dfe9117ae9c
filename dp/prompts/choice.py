"""What a choice is made from: features, logits, and the moment that all random draws depend on (design section 4)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dp.numerics import seeds
from dp.numerics.tensors import sent
from dp.prompts.prompt_config import Temperature
from dp.prompts.released import RANDOM_RANGE


@dataclass(frozen=True)
class Moment:
    """When a forward pass happens: all that a random draw depends on.

    step: updates done before it. number: of the micro-batch within the update, or of the batch within the evaluation.
    rows: [B], the rows' numbers in their split. draws: whether learned choices are drawn; else they are the argmax.
    copies: how often the batch holds each row, all rows once, then all of them again. sharing: at evaluation, how many
    consecutive rows of the split share a task's draw, however they are batched; None: the batch does.
    """

    seed: int
    step: int
    number: int
    rows: Tensor
    training: bool
    draws: bool
    temperature: float = 1.0
    copies: int = 1
    sharing: int | None = None

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

    def by_task(self, purpose: str, of_rows: Tensor, *shape: int) -> Tensor:
        """Uniform numbers [B, ...], float64, that rows of a task share: of_rows [B] is their task, shape[0] tasks."""
        if self.training or self.sharing is None:
            return sent(self.shared(purpose, *shape), of_rows.device)[of_rows]
        when = ("evaluation", self.step, "rows")
        groups = (self.rows // self.sharing).tolist()
        drawn = {group: _uniform(seeds.generator(self.seed, purpose, *when, group), *shape) for group in set(groups)}
        return torch.stack([drawn[group][task] for group, task in zip(groups, of_rows.tolist(), strict=True)])


class Chosen(NamedTuple):
    candidate: Tensor  # [B]
    weights: Tensor | None = None  # [B, S], one-hot at `candidate` in value, carrying the gradient of the logits
    log_prob: Tensor | None = None  # [B], of the candidate
    entropy: Tensor | None = None  # [B], of the candidates' distribution, in nats


class Standard(nn.Module):
    """The instance feature h(x) as the choices read it.

    It is centred, scaled to unit variance over the training rows, and divided by sqrt(H): about unit length.

    Mean-pooled states of different rows are nearly equal: as they are, a linear layer learns from what they share long
    before it learns from what tells them apart. At unit length one step of Adam or Adafactor moves a score by at most
    about sqrt(H) learning rates, not H. The two statistics are kept with the tuned parameters and not tuned.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(hidden), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(hidden), requires_grad=False)

    def fit(self, features: Tensor) -> None:
        """features: [R, H], of the training rows; a coordinate that never varies is only centred."""
        self.mean.copy_(features.mean(0))
        deviation = features.std(0, correction=0)
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, 1.0) * features.shape[1] ** 0.5)

    def forward(self, feature: Tensor) -> Tensor:
        """[B, H] -> [B, H]."""
        return (feature - self.mean) / self.scale


class TaskLogits(nn.Module):
    """Free logits [S] of each task: one choice for a whole task. At first zero or, from a generator, U(-0.5, 0.5)."""

    def __init__(self, tasks: int, candidates: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(tasks, candidates))
        if generator is not None:
            nn.init.uniform_(self.logits, -RANDOM_RANGE, RANDOM_RANGE, generator=generator)

    def forward(self, feature: Tensor | None, tasks: Tensor) -> Tensor:
        """tasks: [B] -> [B, S]."""
        return self.logits[tasks]


class InstanceLogits(nn.Module):
    """One linear layer on the instance feature h(x), shared by all tasks: H S + S parameters.

    The weight begins at U(+-1/sqrt(H)), the bias at 0 or, `random_bias`, as the weight.
    """

    def __init__(self, hidden: int, candidates: int, generator: torch.Generator, random_bias: bool = False) -> None:
        super().__init__()
        bound = 1 / math.sqrt(hidden)
        self.weight = nn.Parameter(torch.empty(candidates, hidden).uniform_(-bound, bound, generator=generator))
        self.bias = nn.Parameter(torch.zeros(candidates))
        if random_bias:
            nn.init.uniform_(self.bias, -bound, bound, generator=generator)

    def forward(self, feature: Tensor | None, tasks: Tensor) -> Tensor:
        """feature: [B, H] -> [B, S]."""
        assert feature is not None
        return nn.functional.linear(feature, self.weight, self.bias)


def logits_of(
    kind: str, tasks: int, hidden: int, candidates: int, generator: torch.Generator, random: bool
) -> TaskLogits | InstanceLogits:
    """Of a `task` or an `instance`. random: what would begin at 0 begins at random."""
    if kind == "instance":
        return InstanceLogits(hidden, candidates, generator, random)
    return TaskLogits(tasks, candidates, generator if random else None)


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise: the argmax of logits plus it is a draw from their softmax."""
    return -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))


def temperature(step: int, of: Temperature) -> float:
    """tau after `step` updates: each update s multiplies by exp(-rate s / anneal), so the exponents add up."""
    return max(of.start * math.exp(-of.rate / of.anneal * step * (step + 1) / 2), of.floor)


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)
