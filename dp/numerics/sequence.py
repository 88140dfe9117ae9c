"""What goes into a backbone: text, with or without prompt vectors in it."""

from typing import NamedTuple

from torch import Tensor


class Sequence(NamedTuple):
    """One right-padded batch of N positions.

    `gate` is None where every present position is seen in full. Otherwise attention weighs each key by it: 1 for text,
    0 or 1 in value for prompt vectors. In training it carries the gradient of a learned length.
    """

    embeds: Tensor  # [B, N, H]
    present: Tensor  # [B, N], 1 for text and prompt vectors, 0 for padding
    text: Tensor  # [B, N], 1 for text alone
    gate: Tensor | None = None  # [B, N], float
    padded: bool | None = None  # whether a position is not present; None: the device is asked

    @property
    def visible(self) -> Tensor:
        """[B, N]: 1 where attention may look."""
        return self.present if self.gate is None else self.present * (self.gate > 0.5)


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of [B, N, H] over the N positions that the mask [B, N] keeps: [B, H]."""
    kept = mask[..., None].to(states)
    return (states * kept).sum(1) / kept.sum(1)
