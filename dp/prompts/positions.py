"""Where the prompt stands: the split s, the number of vectors in front of the text (design section 4)."""

import torch
from torch import Tensor, nn

from dp import seeds
from dp.prompts.choice import Chosen, InstanceLogits, Moment, TaskLogits, choose


class Position(nn.Module):
    """A position policy: `prefix` (s = P), `postfix` (s = 0), an integer split, `random`, `task` or `instance`."""

    def __init__(self, policy: str | int, vectors: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.policy, self.vectors = policy, vectors
        if policy == "task":
            self.logits: nn.Module = TaskLogits(vectors + 1)
        elif policy == "instance":
            self.logits = InstanceLogits(hidden, vectors + 1, generator)

    def forward(self, feature: Tensor | None, moment: Moment) -> Chosen:
        """feature: [B, H], read by `instance` alone."""
        match self.policy:
            case "task" | "instance":
                return choose(self.logits(feature), moment, "position")
            case "random":
                return Chosen(self._random(moment), None)
            case "prefix":
                return self._everywhere(self.vectors, moment)
            case "postfix":
                return self._everywhere(0, moment)
            case _:
                return self._everywhere(int(self.policy), moment)

    def _everywhere(self, split: int, moment: Moment) -> Chosen:
        return Chosen(torch.full_like(moment.rows, split), None)

    def _random(self, moment: Moment) -> Tensor:
        """One draw per instance; at evaluation it depends on the row alone, so batching changes nothing."""
        if moment.step is not None:
            drawn = torch.randint(self.vectors + 1, moment.rows.shape, generator=moment.generator("random split"))
        else:
            draws = [seeds.derive(moment.seed, "random split", int(row)) % (self.vectors + 1) for row in moment.rows]
            drawn = torch.tensor(draws)
        return drawn.to(moment.rows)
