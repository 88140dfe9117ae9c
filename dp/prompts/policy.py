"""The one module through which every learned choice is made (design section 4)."""

import torch
from torch import Tensor, nn

from dp.prompts.choice import Chosen, Moment, logits_of
from dp.prompts.estimators import ESTIMATORS


class Policy(nn.Module):
    """A choice among S candidates for each task (`task`) or each instance (`instance`).

    A frozen policy takes the argmax in training too, and does not learn. estimator, stride: dp/prompts/estimators.py.
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
        self.candidates, self.estimator, self.stride = candidates, ESTIMATORS[estimator], stride
        self.requires_grad_(not frozen)

    def forward(self, feature: Tensor | None, tasks: Tensor, moment: Moment, purpose: str) -> Chosen:
        """feature: [B, H], read by `instance` alone. tasks: [B], the rows' tasks."""
        logits = self.logits(feature, tasks)
        if self.relu:
            logits = logits.relu()
        if self.frozen or not moment.draws:
            return Chosen(logits.argmax(1))

        def uniform(shared: bool) -> Tensor:
            """A Gumbel sample per instance, or per task and batch (paper.md section 1)."""
            if shared and self.tasks is not None:
                return moment.by_task(purpose, tasks, self.tasks, self.candidates)
            return moment.each(purpose, self.candidates)

        return self.estimator.chosen(logits, uniform, moment, self.stride)
