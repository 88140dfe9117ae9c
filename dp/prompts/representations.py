"""What the prompt says: its vectors (design section 4)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dp.prompts.choice import InstanceLogits, Moment, TaskLogits


class Said(NamedTuple):
    vectors: Tensor  # [B, P, H]
    weights: Tensor | None  # [B, K], of the pool's prompts


class Single(nn.Module):
    """One prompt for every input."""

    def __init__(self, initial: Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(initial)

    def forward(self, feature: Tensor | None, tasks: Tensor, mean: Tensor, moment: Moment) -> Said:
        """feature: [B, H] or None; tasks: [B]; mean: [B, H], of the text's embeddings -> vectors [B, P, H]."""
        return Said(self.vectors.expand(len(tasks), -1, -1), None)


class Pool(nn.Module):
    """sum_k beta_k P^(k), beta = softmax(scores): adap_vec (free scores per task) or adap_ins_vec (linear in h(x))."""

    def __init__(self, initial: Tensor, logits: TaskLogits | InstanceLogits, tanh: bool) -> None:
        super().__init__()
        self.prompts = nn.Parameter(initial)  # [K, P, H]
        self.logits, self.tanh = logits, tanh

    def forward(self, feature: Tensor | None, tasks: Tensor, mean: Tensor, moment: Moment) -> Said:
        """feature: [B, H] or None; tasks: [B] -> vectors [B, P, H], weights [B, K]. No noise: the mixture is soft
        (paper.md section 1)."""
        scores = self.logits(feature, tasks)
        weights = (scores.tanh() if self.tanh else scores).softmax(1)
        return Said(torch.einsum("bk,kph->bph", weights, self.prompts), weights)
