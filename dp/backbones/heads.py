"""What heads read from a backbone's states."""

from typing import Any

from torch import Tensor


def word_scores(state: Tensor, head: Any, outputs: Tensor) -> Tensor:
    """[B, C]: the outputs [B, C] of a linear head, by row; -inf where an output is -1. state: [B, H], float32.

    In float32 whatever the backbone: bfloat16 would round a logit of 20 to steps of 1/8.
    """
    rows = outputs.clamp(min=0)
    scores = (head.weight[rows].float() @ state[..., None]).squeeze(2)
    if head.bias is not None:
        scores = scores + head.bias[rows].float()
    return scores.masked_fill(outputs < 0, float("-inf"))
