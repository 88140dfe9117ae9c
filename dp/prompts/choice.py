"""The one module through which every learned choice is made (design section 4)."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dp.numerics import seeds
from dp.prompts.config import Temperature
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
            return self.shared(purpose, *shape)[of_rows.cpu()]
        when = ("evaluation", self.step, "rows")
        groups = (self.rows // self.sharing).tolist()
        drawn = {group: _uniform(seeds.generator(self.seed, purpose, *when, group), *shape) for group in set(groups)}
        return torch.stack([drawn[group][task] for group, task in zip(groups, of_rows.tolist(), strict=True)])


class Chosen(NamedTuple):
    candidate: Tensor  # [B]
    weights: Tensor | None = None  # [B, S], one-hot at `candidate` in value, carrying the gradient of the logits
    log_prob: Tensor | None = None  # [B], of the candidate
    entropy: Tensor | None = None  # [B], of the candidates' distribution, in nats


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
        random: bool = False,
    ) -> None:
        super().__init__()
        self.logits = logits_of(kind, tasks, hidden, candidates, generator, random)
        self.tasks = tasks if kind == "task" else None
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
        return moment.by_task(purpose, tasks, self.tasks, self.candidates)


def straight_through(logits: Tensor, uniform: Tensor, temperature: float) -> Chosen:
    """Straight-through Gumbel-Softmax. logits: [B, S]; uniform: [B, S], a choice that rows share has equal lines."""
    soft = ((logits + gumbel(uniform).to(logits)) / temperature).softmax(1)
    index = soft.argmax(1)
    hard = nn.functional.one_hot(index, logits.shape[1]).to(soft)
    return Chosen(index, hard + (soft - soft.detach()))


def gumbel(uniform: Tensor) -> Tensor:
    """Standard Gumbel noise: the argmax of logits plus it is a draw from their softmax."""
    return -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))


def temperature(step: int, of: Temperature) -> float:
    """tau after `step` updates: each update s multiplies by exp(-rate s / anneal), so the exponents add up."""
    return max(of.start * math.exp(-of.rate / of.anneal * step * (step + 1) / 2), of.floor)


def _uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64)
