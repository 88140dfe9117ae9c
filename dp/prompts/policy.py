"""Where the prompt stands and how many of its vectors are used: told, or chosen by a policy (design section 4)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dp.numerics.tensors import sent
from dp.prompts.choice import Chosen, Moment, logits_of
from dp.prompts.estimators import ESTIMATORS


class Policy(nn.Module):
    """Every learned choice is made here: one among S candidates for each task (`task`) or each instance (`instance`).

    A frozen policy takes the argmax in training too, and does not learn. estimator, stride: dp/prompts/estimators.py.
    backwards: it climbs its objective, for a report to find out.
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
        backwards: bool = False,
    ) -> None:
        super().__init__()
        self.logits = logits_of(kind, tasks, hidden, candidates, generator, random)
        self.tasks = tasks if kind == "task" else None
        self.frozen, self.relu, self.backwards = frozen, relu, backwards
        self.candidates, self.estimator, self.stride = candidates, ESTIMATORS[estimator], stride
        self.requires_grad_(not frozen)

    def forward(self, feature: Tensor | None, tasks: Tensor, moment: Moment, purpose: str) -> Chosen:
        """feature: [B, H], read by `instance` alone. tasks: [B], the rows' tasks."""
        logits = self.logits(feature, tasks)
        if self.relu:
            logits = logits.relu()
        if self.backwards:
            logits = 2 * logits.detach() - logits
        if self.frozen or not moment.draws:
            return Chosen(logits.argmax(1))

        def uniform(shared: bool) -> Tensor:
            """A Gumbel sample per instance, or per task and batch (paper.md section 1)."""
            if shared and self.tasks is not None:
                return moment.by_task(purpose, tasks, self.tasks, self.candidates)
            return moment.each(purpose, self.candidates)

        return self.estimator.chosen(logits, uniform, moment, self.stride)


class Position(nn.Module):
    """prefix (s = P), postfix (s = 0), an integer split, random (one draw per instance), or a learned policy.

    where: the definition's word; what it says of a choice is the policy's.
    """

    def __init__(self, where: str | int | dict[str, str], vectors: int, policy: Policy | None) -> None:
        super().__init__()
        self.where, self.vectors, self.policy = where, vectors, policy

    def forward(self, feature: Tensor | None, tasks: Tensor, moment: Moment) -> Chosen:
        """feature: [B, H], read by an instance policy alone. tasks: [B]."""
        if self.policy:
            return self.policy(feature, tasks, moment, "position")
        match self.where:
            case "random":
                share = moment.each("random split", 1)[:, 0]
                return Chosen(sent((share * (self.vectors + 1)).long(), moment.rows.device))
            case "prefix":
                split = self.vectors
            case "postfix":
                split = 0
            case int(split):
                pass
            case _:
                raise AssertionError(self.where)
        return Chosen(torch.full_like(moment.rows, split))


class Kept(NamedTuple):
    chosen: Chosen
    gate: Tensor  # [B, P], 1 for the first vectors, 0 for the rest


class Length(nn.Module):
    """A learned length in 0..P; a fixed one is a prompt of that many vectors and needs no module."""

    def __init__(self, vectors: int, policy: Policy) -> None:
        super().__init__()
        self.vectors, self.policy = vectors, policy

    def forward(self, feature: Tensor | None, tasks: Tensor, moment: Moment) -> Kept:
        """feature: [B, H], read by an instance policy alone. tasks: [B]."""
        chosen = self.policy(feature, tasks, moment, "length")
        if chosen.weights is None:
            gate = torch.arange(self.vectors, device=chosen.candidate.device) < chosen.candidate[:, None]
            return Kept(chosen, gate.float())
        # Vector i is kept by every length above i: the gate carries the choice's gradient as sums of its weights.
        return Kept(chosen, chosen.weights.flip(1).cumsum(1).flip(1)[:, 1:])
