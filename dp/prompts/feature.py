"""The instance feature h(x) as the choices read it."""

import torch
from torch import Tensor, nn


class Standard(nn.Module):
    """Centred, scaled to unit variance over the training rows, and divided by sqrt(H): about unit length.

    Mean-pooled states of different rows are nearly equal: as they are, a linear layer learns from what they share long
    before it learns from what tells them apart. At unit length one step of Adam or Adafactor moves a score by at most
    about sqrt(H) learning rates, not H. The two statistics are kept with the tuned parameters and not tuned.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(hidden), requires_grad=False)
        self.scale = nn.Parameter(torch.ones(hidden), requires_grad=False)

    def fit(self, features: Tensor) -> None:
        """features: [R, H], of the training rows; a coordinate that never varies is only centred."""
        self.mean.copy_(features.mean(0))
        deviation = features.std(0, correction=0)
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, 1.0) * features.shape[1] ** 0.5)

    def forward(self, feature: Tensor) -> Tensor:
        """[B, H] -> [B, H]."""
        return (feature - self.mean) / self.scale
