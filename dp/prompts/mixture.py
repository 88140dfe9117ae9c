"""SMoP (Choi et al. 2023): a sparse mixture of short prompts behind a linear router."""

import torch
from torch import Tensor, nn

from dp.prompts.choice import Moment
from dp.prompts.representations import Said


class Mixture(nn.Module):
    """Each instance gets the one of K prompts that the router finds most probable, times that probability.

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
            normal = torch.special.ndtri(moment.each("router", logits.shape[1])).to(logits)
            logits = logits + logits.detach() * normal
        probability, index = logits.softmax(1).max(1)
        vectors = self.prompts[index] * probability[:, None, None]
        return Said(vectors, nn.functional.one_hot(index, logits.shape[1]) * probability[:, None])
