"""Where prompt vectors meet text: the only code that inserts (design section 4).

With P vectors v, text x of which the last `tail` tokens stay behind the prompt (T5's </s>), and a split s:

    X'_s = [v_1 .. v_s ; body ; v_s+1 .. v_P ; tail ; padding]

The forward pass gathers the one chosen sequence. The gradient of the choice is <dL/dX', X'_s> for every candidate s,
computed by shifted inner products, so no candidate is ever built. It equals the gradient of the one-hot mixture of all
P + 1 candidates (paper.md section 1).
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Composed(NamedTuple):
    embeds: Tensor  # [B, P+T, H]
    mask: Tensor  # [B, P+T], 1 where there is a prompt vector or a text token


def compose(
    vectors: Tensor, split: Tensor, x: Tensor, mask: Tensor, tail: int, weights: Tensor | None = None
) -> Composed:
    """Insert prompt vectors into right-padded text.

    vectors: [B, P, H]. split: [B], the number of vectors in front, 0..P. x: [B, T, H] text embeddings. mask: [B, T],
    1 for text. tail: text tokens at the end that stay behind the prompt. weights: [B, P+1], one-hot at `split` in
    value, through which the choice gets its gradient; None where nothing is learned about the split.
    """
    body = mask.sum(1) - tail
    vectors = vectors.to(x.dtype)
    if weights is None:
        weights = x.new_zeros(len(x), 0)
    embeds = _Insert.apply(vectors, weights, x, split, body)
    ones = mask.new_ones(len(mask), vectors.shape[1])
    return Composed(embeds, torch.cat([ones, mask], dim=1))


def source_index(split: Tensor, body: Tensor, vectors: int, tokens: int) -> Tensor:
    """[B, P+T]: for every position of X', its place in [v; x]."""
    position = torch.arange(vectors + tokens, device=split.device)
    front, end = split[:, None], (split + body)[:, None]
    behind = (vectors + body)[:, None]
    text = vectors + position - front
    index = torch.where(position < front, position, text)
    index = torch.where((position >= end) & (position < behind), position - body[:, None], index)
    return torch.where(position >= behind, position, index)


def target_index(split: Tensor, body: Tensor, vectors: int, tokens: int) -> Tensor:
    """[B, P+T]: for every place in [v; x], its position in X'. The inverse of `source_index`."""
    i = torch.arange(vectors, device=split.device)
    t = torch.arange(tokens, device=split.device)
    of_vectors = torch.where(i < split[:, None], i, i + body[:, None])
    of_text = torch.where(t < body[:, None], t + split[:, None], t + vectors)
    return torch.cat([of_vectors, of_text], dim=1)


def candidate_products(grad: Tensor, vectors: Tensor, x: Tensor, body: Tensor) -> Tensor:
    """[B, P+1]: <grad, X'_s> for every split s, without building X'_s. grad: [B, P+T, H]; float32 sums."""
    count, tokens = vectors.shape[1], x.shape[1]
    grad, vectors, x = grad.float(), vectors.float(), x.float()
    t = torch.arange(tokens, device=x.device)
    in_body = (t < body[:, None])[..., None]
    body_x, rest_x = x * in_body, x * ~in_body

    def shifted(start: int, text: Tensor) -> Tensor:
        # A sum of products: one dot product over T H terms would lose three digits in float32, and take longer.
        return (grad[:, start : start + tokens] * text).sum((1, 2))

    text = torch.stack([shifted(s, body_x) for s in range(count + 1)], dim=1) + shifted(count, rest_x)[:, None]
    behind = target_index(torch.zeros_like(body), body, count, 0)[..., None].expand(-1, -1, x.shape[2])
    if_in_front = (grad[:, :count] * vectors).sum(2)
    if_behind = (grad.gather(1, behind) * vectors).sum(2)
    zero = if_in_front.new_zeros(len(x), 1)
    front = torch.cat([zero, if_in_front.cumsum(1)], dim=1)
    back = torch.cat([zero, if_behind.cumsum(1)], dim=1)
    return front + (back[:, -1:] - back) + text


class _Insert(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vectors, weights, x, split, body):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(vectors, weights, x, split, body)
        index = source_index(split, body, vectors.shape[1], x.shape[1])
        return torch.cat([vectors, x], dim=1).gather(1, index[..., None].expand(-1, -1, x.shape[2]))

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        vectors, weights, x, split, body = ctx.saved_tensors
        count, tokens = vectors.shape[1], x.shape[1]
        target = target_index(split, body, count, tokens if ctx.needs_input_grad[2] else 0)
        placed = grad.gather(1, target[..., None].expand(-1, -1, x.shape[2]))
        of_weights = None
        if ctx.needs_input_grad[1]:
            of_weights = candidate_products(grad, vectors, x, body).to(weights.dtype)
        of_x = placed[:, count:] if ctx.needs_input_grad[2] else None
        return placed[:, :count], of_weights, of_x, None, None
