"""Where prompt vectors meet text: the only code that inserts (design section 4).

With P vectors v, text x of which the last `tail` tokens stay behind the prompt (T5's </s>), and a split s:

    X'_s = [v_1 .. v_s ; body ; v_s+1 .. v_P ; tail ; padding]

or, where the split rotates the prompt as the released code does (paper.md section 1),

    X'_s = [v_P-s+1 .. v_P ; body ; v_1 .. v_P-s ; tail ; padding]

The forward pass gathers the one chosen sequence. The gradient of the choice is <dL/dX', X'_s> for every candidate s,
computed by shifted inner products, so no candidate is ever built. It equals the gradient of the one-hot mixture of all
P + 1 candidates. Where a length is learned too, the gate travels as one more coordinate of each vector, so that the
split's gradient knows of it.
"""

import torch
from torch import Tensor

from dp.numerics.sequence import Sequence


def compose(
    vectors: Tensor,
    split: Tensor,
    x: Tensor,
    mask: Tensor,
    tails: Tensor,
    weights: Tensor | None = None,
    gate: Tensor | None = None,
    rotate: bool = False,
) -> Sequence:
    """Insert prompt vectors into right-padded text.

    vectors: [B, P, H]. split: [B], the number of vectors in front, 0..P. x: [B, T, H] text embeddings. mask: [B, T],
    1 for text. tails: [B], text tokens at the end that stay behind the prompt. weights: [B, P+1], one-hot at `split` in
    value, through which the choice gets its gradient; None where nothing is learned about the split. gate: [B, P], how
    much of each vector attention sees; None where all are seen.
    """
    count, tokens = vectors.shape[1], x.shape[1]
    body = mask.sum(1) - tails
    vectors = vectors.to(x.dtype)
    if weights is None:
        weights = x.new_zeros(len(x), 0)
    if gate is not None:
        vectors = torch.cat([vectors, gate[..., None].to(x)], dim=2)
        x = torch.cat([x, mask[..., None].to(x)], dim=2)
    placed = _Insert.apply(vectors, weights, x, split, body, rotate)
    index = source_index(split, body, count, tokens, rotate)
    ones = mask.new_ones(len(mask), count)
    present = torch.cat([ones, mask], dim=1).gather(1, index)
    text = torch.cat([torch.zeros_like(ones), mask], dim=1).gather(1, index)
    if gate is None:
        return Sequence(placed, present, text)
    return Sequence(placed[..., :-1], present, text, placed[..., -1].float())


def source_index(split: Tensor, body: Tensor, vectors: int, tokens: int, rotate: bool = False) -> Tensor:
    """[B, P+T]: for every position of X', its place in [v; x]."""
    position = torch.arange(vectors + tokens, device=split.device)
    front, end = split[:, None], (split + body)[:, None]
    behind = (vectors + body)[:, None]
    # Without rotation vector i stands at i in front, or at i + body behind; with it, the head of the prompt is behind.
    in_front, in_rear = (vectors - front, end) if rotate else (torch.zeros_like(front), body[:, None])
    index = torch.where(position < front, position + in_front, vectors + position - front)
    index = torch.where((position >= end) & (position < behind), position - in_rear, index)
    return torch.where(position >= behind, position, index)


def target_index(split: Tensor, body: Tensor, vectors: int, tokens: int, rotate: bool = False) -> Tensor:
    """[B, P+T]: for every place in [v; x], its position in X'. The inverse of `source_index`."""
    i = torch.arange(vectors, device=split.device)
    t = torch.arange(tokens, device=split.device)
    rear = vectors - split[:, None]
    if rotate:
        of_vectors = torch.where(i < rear, i + (split + body)[:, None], i - rear)
    else:
        of_vectors = torch.where(i < split[:, None], i, i + body[:, None])
    of_text = torch.where(t < body[:, None], t + split[:, None], t + vectors)
    return torch.cat([of_vectors, of_text], dim=1)


def candidate_products(grad: Tensor, vectors: Tensor, x: Tensor, body: Tensor, rotate: bool = False) -> Tensor:
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
    rear = target_index(torch.zeros_like(body), body, count, 0)[..., None].expand(-1, -1, x.shape[2])
    front_grad, rear_grad = grad[:, :count], grad.gather(1, rear)
    if rotate:
        return text + _rotated_products(front_grad, rear_grad, vectors)
    if_in_front = (front_grad * vectors).sum(2)
    if_behind = (rear_grad * vectors).sum(2)
    zero = if_in_front.new_zeros(len(x), 1)
    front = torch.cat([zero, if_in_front.cumsum(1)], dim=1)
    back = torch.cat([zero, if_behind.cumsum(1)], dim=1)
    return front + (back[:, -1:] - back) + text


def _rotated_products(front_grad: Tensor, rear_grad: Tensor, vectors: Tensor) -> Tensor:
    """[B, P+1]: the share of the vectors. front_grad, rear_grad: [B, P, H], gradients at the first P positions and at
    the P positions from the body's length on, where vectors stand for s = 0.

    For split s, vector i in front stands at i - (P - s) and vector i behind at body + s + i: both are diagonals of
    <gradient at p, vector i>.
    """
    count = vectors.shape[1]
    front, rear = (grad @ vectors.transpose(1, 2) for grad in (front_grad, rear_grad))
    sums = [
        front.diagonal(count - s, 1, 2).sum(1) + rear.diagonal(-s, 1, 2).sum(1)  # empty diagonals sum to 0
        for s in range(count + 1)
    ]
    return torch.stack(sums, dim=1)


class _Insert(torch.autograd.Function):
    @staticmethod
    def forward(ctx, vectors, weights, x, split, body, rotate):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(vectors, weights, x, split, body)
        ctx.rotate = rotate
        index = source_index(split, body, vectors.shape[1], x.shape[1], rotate)
        return torch.cat([vectors, x], dim=1).gather(1, index[..., None].expand(-1, -1, x.shape[2]))

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        vectors, weights, x, split, body = ctx.saved_tensors
        count, tokens = vectors.shape[1], x.shape[1]
        target = target_index(split, body, count, tokens if ctx.needs_input_grad[2] else 0, ctx.rotate)
        placed = grad.gather(1, target[..., None].expand(-1, -1, x.shape[2]))
        of_weights = None
        if ctx.needs_input_grad[1]:
            of_weights = candidate_products(grad, vectors, x, body, ctx.rotate).to(weights.dtype)
        of_x = placed[:, count:] if ctx.needs_input_grad[2] else None
        return placed[:, :count], of_weights, of_x, None, None, None
