"""Where the prompt stands: the split s, the number of vectors in front of the text (design section 4)."""

import torch
from torch import Tensor, nn

from dp.prompts.choice import Chosen, Moment
from dp.prompts.policy import Policy


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
                return Chosen((share * (self.vectors + 1)).long().to(moment.rows))
            case "prefix":
                split = self.vectors
            case "postfix":
                split = 0
            case int(split):
                pass
            case _:
                raise AssertionError(self.where)
        return Chosen(torch.full_like(moment.rows, split))
