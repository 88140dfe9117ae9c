"""What the prompt says: its vectors (design section 4)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dp.numerics.tensors import sent
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


class Residual(nn.Module):
    """Residual prompt tuning (Razdaibiedina et al. 2023): P + LayerNorm(up(relu(down(P)))), each vector by itself.

    The bottleneck network is trained with the prompt.
    """

    def __init__(self, initial: Tensor, bottleneck: int, generator: torch.Generator) -> None:
        super().__init__()
        hidden = initial.shape[1]
        self.vectors = nn.Parameter(initial)
        self.down, self.up = _linear(hidden, bottleneck, generator), _linear(bottleneck, hidden, generator)
        self.norm = nn.LayerNorm(hidden)

    def forward(self, feature: Tensor | None, tasks: Tensor, mean: Tensor, moment: Moment) -> Said:
        """tasks: [B] -> vectors [B, P, H], the same for every row."""
        vectors = self.vectors + self.norm(self.up(self.down(self.vectors).relu()))
        return Said(vectors.expand(len(tasks), -1, -1), None)


class Mixture(nn.Module):
    """SMoP (Choi et al. 2023), a sparse mixture of short prompts behind a linear router.

    Each instance gets the one of K prompts that the router finds most probable, times that probability.

    The router reads the mean of the text's input embeddings and has no bias. In training its logits are multiplied by
    1 + N(0, 1), a factor through which no gradient flows, so that all prompts are visited.
    """

    def __init__(self, initial: Tensor, generator: torch.Generator) -> None:
        super().__init__()
        self.prompts = nn.Parameter(initial)  # [K, P, H]
        router = torch.empty(len(initial), initial.shape[2])
        self.router = nn.Parameter(nn.init.orthogonal_(router, generator=generator))

    def forward(self, feature: Tensor | None, tasks: Tensor, mean: Tensor, moment: Moment) -> Said:
        """mean: [B, H]. The weights are zero but for the chosen prompt's."""
        logits = mean.float() @ self.router.T
        if moment.training:
            normal = torch.special.ndtri(moment.each("router", logits.shape[1]))
            logits = logits + logits.detach() * sent(normal, logits.device, logits.dtype)
        probability, index = logits.softmax(1).max(1)
        vectors = self.prompts[index] * probability[:, None, None]
        return Said(vectors, nn.functional.one_hot(index, logits.shape[1]) * probability[:, None])


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = 1 / math.sqrt(inputs)
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound, generator=generator)
    return layer
