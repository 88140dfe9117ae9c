"""A linear head on the backbone's pooled state, tuned with the prompt."""

import torch
from torch import Tensor, nn

from dp.numerics import seeds


class LinearHead(nn.Module):
    """One output per class of each task; a task's outputs stand together, in the order of the tasks."""

    def __init__(self, hidden: int, classes: list[int], seed: int) -> None:
        super().__init__()
        generator = seeds.generator(seed, "head initialisation")
        self.weight = nn.Parameter(torch.randn(sum(classes), hidden, generator=generator) * 0.02)
        self.bias = nn.Parameter(torch.zeros(sum(classes)))
        self.starts = [sum(classes[:task]) for task in range(len(classes))]

    def forward(self, state: Tensor, outputs: Tensor, tasks: Tensor) -> Tensor:
        """Scores [B, C] of state [B, H] for rows of tasks [B]; -inf where outputs [B, C] is -1, a class they lack."""
        start = torch.tensor(self.starts, device=tasks.device)[tasks]
        columns = start[:, None] + torch.arange(outputs.shape[1], device=outputs.device)
        scores = nn.functional.linear(state, self.weight, self.bias)
        known = outputs >= 0
        return scores.gather(1, columns.where(known, 0)).masked_fill(~known, -torch.inf)
