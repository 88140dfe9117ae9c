"""The one attention function of gated sequences and of key/value prefixes (design section 4).

Where a gate carries a gradient, key j of every query weighs gate_j * exp(score_j): log(gate + EPSILON) joins the
attention's additive mask. Where it carries none, dropped positions are masked out. Without gate or prefix it is
transformers' own attention, and a backbone that nobody trains on keeps that.

A process makes one pass at a time: what its layers need stands in plain slots, which `torch.compile` can follow.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask, sdpa_mask

from dp.errors import UserError
from dp.numerics.sequence import Sequence

NAME = "dynamic_prompting"
EPSILON = 1e-20
"""A dropped key whose score is 29 above all others still adds less than float32 rounding; 1e-9 allows only 4."""

Prefix = tuple[Tensor, Tensor]
T = TypeVar("T")


class _Slot(Generic[T]):
    def __init__(self) -> None:
        self.value: T | None = None


_log_gates: _Slot[Mapping[nn.Module, Tensor]] = _Slot()
_prefixes: _Slot[Mapping[nn.Module, Prefix]] = _Slot()
_padded: _Slot[bool] = _Slot()
_made: _Slot[dict[tuple[Any, ...], tuple[Any, Tensor]]] = _Slot()
_places: _Slot[Tensor] = _Slot()


@contextmanager
def _holding(slot: _Slot[T], value: T | None) -> Iterator[None]:
    """Within it, the slot has the value."""
    before, slot.value = slot.value, value
    try:
        yield
    finally:
        slot.value = before


@contextmanager
def prefixed(backbone: Any, prefixes: Mapping[nn.Module, Prefix]) -> Iterator[None]:
    """Within it, every query of each module sees the module's prefix in front of its own keys.

    prefixes: a module of `backbone.self_attentions` -> (key [B, heads, P, d], value [B, heads, P, d]), with (heads, d)
    the backbone's key_value_shape and the same P for every module. Text of a backbone with absolute or rotary
    positions starts at position P, as in P-tuning v2 and in peft's prefix tuning; a T5's prefix has position bias 0.
    """
    with _through(backbone.model, _prefixes, prefixes):
        yield


@contextmanager
def gated(model: nn.Module, sequence: Sequence, modules: list[nn.Module], causal: bool = False) -> Iterator[Tensor]:
    """Within it, the modules' keys (the sequence's positions) weigh what its gate says; yields the mask [B, N] to pass.

    The gate carries a gradient where it requires one and gradients are enabled: then a dropped vector weighs EPSILON.
    Otherwise it is masked out. A causal row that sees nothing but dropped vectors sees itself in full: nothing reads
    its state, and without this the gates' gradient would hold the derivative of EPSILON / EPSILON.
    """
    with _holding(_made, {}), _weighed(model, sequence, modules, causal) as mask:
        yield mask


@contextmanager
def _weighed(model: nn.Module, sequence: Sequence, modules: list[nn.Module], causal: bool) -> Iterator[Tensor]:
    gate = sequence.gate
    if gate is None:
        with _holding(_padded, sequence.padded):
            yield sequence.present
    elif not (gate.requires_grad and torch.is_grad_enabled()):
        with _through(model, _log_gates, {}):
            yield sequence.visible
    else:
        log_gate = torch.log(gate.float() + EPSILON)[:, None, None]
        if causal:
            blind = sequence.visible.cumsum(1) == 0
            log_gate = log_gate.masked_fill(torch.diag_embed(blind)[:, None], 0.0)
        with _through(model, _log_gates, dict.fromkeys(modules, log_gate)):
            yield sequence.present


def positions(sequence: Sequence) -> Tensor | None:
    """[B, N]: places that count the prefix and the visible positions alone; None where those are simply 0 .. N - 1.

    So a prompt with dropped vectors equals the shorter prompt without them. A dropped position has the place of the
    visible one before it. They are position ids, or, within `placed`, what a T5's relative distances are taken from.
    """
    prefixes = _prefixes.value
    if sequence.gate is None and not prefixes:
        return None
    start = next(iter(prefixes.values()))[0].shape[2] if prefixes else 0
    return (sequence.visible.long().cumsum(1) - 1).clamp(min=0) + start


@contextmanager
def placed(places: Tensor | None) -> Iterator[None]:
    """Within it, a T5's self-attention takes relative distances from places [B, N]; None: as they stand."""
    with _holding(_places, places):
        yield


def adopt(model: nn.Module) -> None:
    """Let a model attend by `attention` from here on: without gate or prefix that is transformers' SDPA to the bit.

    A model that attends otherwise, or that takes no other function, stays as it is.
    """
    parts = _parts(model)
    if all(part.config._attn_implementation == "sdpa" and part._can_set_attn_implementation() for part in parts):
        _set(parts, [NAME] * len(parts))
        if any(part.config._attn_implementation != NAME for part in parts):
            _set(parts, ["sdpa"] * len(parts))


@contextmanager
def _through(model: nn.Module, slot: _Slot[T], value: T) -> Iterator[None]:
    """The model attends by `attention`, which finds `value` in the slot; both are put back at the end.

    Raises UserError for a model that does not attend through transformers' attention interface.
    """
    with _attending(model), _holding(slot, value):
        yield


@contextmanager
def _attending(model: nn.Module) -> Iterator[None]:
    """Within it, the model attends by `attention`; raises as `_through`. Costs nothing where it was adopted."""
    config: Any = model.config
    if config._attn_implementation == NAME:
        yield
        return
    parts = _parts(model)
    before = [part.config._attn_implementation for part in parts]
    try:
        for part in parts:
            _set([part], [NAME])
            if part.config._attn_implementation != NAME:
                raise UserError(
                    f"{type(part).__name__} does not take another attention function, so neither learned lengths nor "
                    "prefixes work with it. Choose a backbone like T5, Llama, Gemma, BERT or RoBERTa."
                )
        yield
    finally:
        _set(parts, before)


def _parts(model: nn.Module) -> list[PreTrainedModel]:
    """Each part is told: under transformers 5.17 a T5's encoder and decoder do not hear what the whole is told."""
    return [part for part in model.modules() if isinstance(part, PreTrainedModel)]


def _set(parts: list[PreTrainedModel], implementations: list[str]) -> None:
    for part, implementation in zip(parts, implementations, strict=True):
        part.set_attn_implementation(implementation)


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    position_bias: Tensor | None = None,
    **rest: Any,
) -> tuple[Tensor, None]:
    """For transformers. query [B, heads, Nq, d], key and value [B, heads, Nk, d] -> [B, Nq, heads, d].

    attention_mask [B, 1, Nq, Nk] and T5's position_bias [1, heads, Nq, Nk] are added to the scores. A mask is never
    None where there are gates or prefixes.
    """
    if attention_mask is None:
        return sdpa_attention_forward(module, query, key, value, None, position_bias=position_bias, **rest)
    log_gate = (_log_gates.value or {}).get(module)
    prefix = (_prefixes.value or {}).get(module)
    length = 0
    if prefix is not None:
        front_key, front_value = prefix
        length = front_key.shape[2]
        key = torch.cat([front_key.to(key.dtype), key], dim=2)
        value = torch.cat([front_value.to(value.dtype), value], dim=2)
    added = _added(Terms(attention_mask, position_bias, log_gate, length, key.dtype))
    return sdpa_attention_forward(module, query, key, value, added, **rest)


class Terms(NamedTuple):
    """What is added to the scores of a layer: in one pass mostly the same for all of them."""

    mask: Tensor  # [B, 1, Nq, Nk], additive, or bool where a query may look
    position_bias: Tensor | None  # [1, heads, Nq, Nk]
    log_gate: Tensor | None  # [B, 1, 1 | Nq, Nk]
    length: int  # P, of the prefix
    dtype: torch.dtype  # of the keys

    def sum(self) -> Tensor:
        """[B, 1 | heads, Nq, P + Nk], bool where nothing joins a bool mask."""
        mask, bias, places = self.mask, self.position_bias, _places.value
        if self.log_gate is not None:
            mask = mask + self.log_gate.to(mask.dtype)
        if bias is not None and places is not None:
            bias = _moved(bias, places)
        if self.length:
            mask = pad(mask, (self.length, 0))
            bias = None if bias is None else pad(bias, (self.length, 0))
        if bias is None:
            return mask
        joined = bias.where(mask, torch.finfo(self.dtype).min) if mask.dtype == torch.bool else bias + mask
        return joined.contiguous()


def _added(terms: Terms) -> Tensor:
    """The terms' sum, made once for all layers of a pass that have the same, unless the position bias learns.

    Compiled, a pass makes it once by itself.
    """
    if torch.compiler.is_compiling() or (terms.position_bias is not None and terms.position_bias.requires_grad):
        return terms.sum()
    made = {} if _made.value is None else _made.value
    key = tuple(id(term) if isinstance(term, Tensor) else term for term in terms)
    if key not in made:
        with torch.no_grad():
            made[key] = terms, terms.sum()  # the terms too, so that no other tensor gets an id of theirs
    total = made[key][1]
    return total if terms.log_gate is None else _Weighed.apply(terms.log_gate, total, terms.length)


class _Weighed(torch.autograd.Function):
    """`Terms.sum`, already made, of which the gate learns: each layer's gradient is summed up to the gate's shape.

    Left to autograd, the layers' gradients [B, heads, Nq, P + Nk] would be added up first.
    """

    @staticmethod
    def forward(ctx, log_gate, total, length):  # type: ignore[no-untyped-def]
        ctx.shape, ctx.dtype, ctx.length = log_gate.shape, log_gate.dtype, length
        return total.view_as(total)

    @staticmethod
    def backward(ctx, grad):  # type: ignore[no-untyped-def]
        of_mask = grad.sum(1, keepdim=True)[..., ctx.length :]
        return of_mask.sum_to_size(ctx.shape).to(ctx.dtype), None, None


def _moved(position_bias: Tensor, places: Tensor) -> Tensor:
    """[B, heads, N, N]: the bias [1, heads, N, N] of distance key - query, at the distances between places [B, N]."""
    last = places.shape[1] - 1
    by_distance = torch.cat([position_bias[0, :, 1:, 0].flip(1), position_bias[0, :, 0]], dim=1)  # [heads, 2 N - 1]
    distance = places[:, None, :] - places[:, :, None] + last
    return by_distance[:, distance].transpose(0, 1)


def mask(*args: Any, **rest: Any) -> Tensor | None:
    """For transformers: what its SDPA takes, or, where gates or prefixes join it, `full_mask`.

    transformers would ask the device whether anything is padded, and wait for its answer; the sequence says so.
    """
    if _log_gates.value is not None or _prefixes.value is not None:
        return full_mask(*args, **rest)
    padded = _padded.value
    if padded:
        skipped = rest["attention_mask"] is None  # a decoder's own keys, none of which is padding
        rest |= {"allow_is_causal_skip": skipped, "allow_is_bidirectional_skip": skipped}
    elif padded is False:
        rest |= {"attention_mask": None}
    return sdpa_mask(*args, **rest)


def full_mask(*args: Any, **rest: Any) -> Tensor:
    """[B, 1, Nq, Nk]: 0 where a query may look, the lowest float elsewhere; never left out."""
    return eager_mask(*args, **rest | {"allow_is_bidirectional_skip": False})


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, mask)
