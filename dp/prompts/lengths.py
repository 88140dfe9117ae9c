"""How many vectors of the prompt are used: the first n of P (design section 4)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dp.prompts.choice import Chosen, Moment
from dp.prompts.policy import Policy


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
