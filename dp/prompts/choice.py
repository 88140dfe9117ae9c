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
    copies: how often the batch holds each row, all rows once, then all of them again.
    """

    seed: int
    step: int
    number: int
    rows: Tensor
    training: bool
    draws: bool
    temperature: float = 1.0
    copies: int = 1

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
    weights: Tensor | None = None  # [B, S], one-hot at `candidate` in value, carrying the gradient of the logits
    log_prob: Tensor | None = None  # [B], of the candidate
    entropy: Tensor | None = None  # [B], of the candidates' distribution, in nats


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

    A frozen policy takes the argmax in training too, and does not learn. estimator: see dp/prompts/estimators.py. Where
    it is exact, copy c of a row takes candidate (c // stride) % S: with strides of 1 and S, two policies meet in every
    pair.
    """

    def __init__(
        self,
        kind: str,
        candidates: int,
        tasks: int,
        hidden: int,
        generator: torch.Generator,
        frozen: bool,
        relu: bool,
        estimator: str = "straight_through",
        stride: int = 1,
    ) -> None:
        super().__init__()
        instance = kind == "instance"
        self.logits = InstanceLogits(hidden, candidates, generator) if instance else TaskLogits(tasks, candidates)
        self.tasks = None if instance else tasks
        self.frozen, self.relu = frozen, relu
        self.candidates, self.estimator, self.stride = candidates, estimator, stride
        self.requires_grad_(not frozen)

    def forward(self, feature: Tensor | None, tasks: Tensor, moment: Moment, purpose: str) -> Chosen:
        """feature: [B, H], read by `instance` alone. tasks: [B], the rows' tasks."""
        logits = self.logits(feature, tasks)
        if self.relu:
            logits = logits.relu()
        if self.frozen or not moment.draws:
            return Chosen(logits.argmax(1))
        if self.estimator == "straight_through":
            return straight_through(logits, self._uniform(tasks, moment, purpose), moment.temperature)
        log_probs = logits.log_softmax(1)
        if self.estimator == "exact" and moment.training:
            copy = torch.arange(len(logits), device=logits.device) // (len(logits) // moment.copies)
            candidate = copy // self.stride % self.candidates
        else:
            # Also for a task each row draws on its own: the gradient is as true and has less variance.
            candidate = (logits + gumbel(moment.each(purpose, self.candidates)).to(logits)).argmax(1)
        chosen = log_probs.gather(1, candidate[:, None])[:, 0]
        return Chosen(candidate, None, chosen, -(log_probs.exp() * log_probs).sum(1))

    def _uniform(self, tasks: Tensor, moment: Moment, purpose: str) -> Tensor:
        """[B, S]: a Gumbel sample per instance, or per task and batch (paper.md section 1)."""
        if self.tasks is None:
            return moment.each(purpose, self.candidates)
        return moment.shared(purpose, self.tasks, self.candidates)[tasks.cpu()]


def straight_through(logits: Tensor, uniform: Tensor, temperature: float) -> Chosen:
    """Straight-through Gumbel-Softmax. logits: [B, S]; uniform: [B, S], a choice that rows share has equal lines."""
    soft = ((logits + gumbel(uniform).to(logits)) / temperature).softmax(1)
    index = soft.argmax(1)
    hard = nn.functional.one_hot(index, logits.shape[1]).to(soft)
    return Chosen(index, hard + (soft - soft.detach()))


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise: the argmax of logits plus it is a draw from their softmax."""
    return -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))


def temperature(step: int, start: float, floor: float, rate: float, anneal: float) -> float:
    """tau after `step` updates: each update s multiplies by exp(-rate s / anneal), so the exponents add up."""
    return max(start * math.exp(-rate / anneal * step * (step + 1) / 2), floor)


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)
