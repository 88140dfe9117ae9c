"""What a fetched backbone can do, found by one tiny pass of each kind.

Each pass is held against what it must equal, so that an architecture that this project reads wrongly (another layout of
layers, another scale of logits, an attention function of its own) is found out before any row is tokenized.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dp import files
from dp.backbones.attention import prefixed
from dp.backbones.backbone import Backbone
from dp.backbones.families import load
from dp.backbones.lora import add_lora
from dp.backbones.names import Family
from dp.errors import UserError
from dp.numerics.sequence import Sequence

TEXT, VECTORS = 6, 2
"""Positions of the tiny text and of the prefix beside it."""
LIKE = "Choose one like T5, Llama, Gemma, Qwen, BERT or RoBERTa."


def capabilities(folder: Path, family: Family, head: str) -> dict[str, Any]:
    """`max_positions`, None where there is no table, and `lacks`: what does not work -> why.

    That is some of "word scores", "lengths" (learned ones), "prefixes" (in every layer) and "lora". Raises UserError
    where not even plain text passes as the family's model itself reads it.
    """
    backbone = _loaded(folder, family, head)
    ids = _ids(backbone)
    if reason := _reason(partial(_plain, backbone, ids, head)):
        places = "" if backbone.max_positions is None else f" with {backbone.max_positions} positions"
        raise UserError(f"A {_kind(folder)}{places} cannot be used as a {family} backbone: {reason}. {LIKE}")
    passes: dict[str, Callable[[Backbone, Tensor, str], None]] = {
        "lengths": _lengths,
        "prefixes": _prefixes,
        "lora": _lora,  # its adapters stay in the model, so it is the last
    }
    if head == "verbalizer":
        passes = {"word scores": _word_scores} | passes
    found = {name: _reason(partial(tried, backbone, ids, head)) for name, tried in passes.items()}
    return {"max_positions": backbone.max_positions, "lacks": {name: why for name, why in found.items() if why}}


class _Differs(Exception):
    """A pass gave something else than it must equal."""


def _loaded(folder: Path, family: Family, head: str) -> Backbone:
    try:
        return load(folder, family, head)
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise UserError(
            f"A {_kind(folder)} cannot be used as a {family} backbone: its layers are not laid out as those that are "
            f"known here ({_said(error)}). {LIKE}"
        ) from None


def _reason(tried: Callable[[], None]) -> str | None:
    """Why a pass failed. Whatever a foreign architecture raises is such a reason."""
    try:
        tried()
    except _Differs as error:
        return str(error)
    except Exception as error:
        return _said(error)
    return None


def _ids(backbone: Backbone) -> Tensor:
    """[1, TEXT] of ordinary pieces from all over the vocabulary."""
    special = torch.tensor(backbone.tokenizer.all_special_ids, dtype=torch.long)
    ordinary = torch.arange(min(len(backbone.tokenizer), backbone.vocabulary.shape[0]))
    ordinary = ordinary[~torch.isin(ordinary, special)]
    return ordinary[torch.linspace(0, len(ordinary) - 1, TEXT).long()][None]


def _text(backbone: Backbone, ids: Tensor, gate: Tensor | None = None, vectors: int = 0) -> Sequence:
    """Text behind its first piece of which as many pieces stand for prompt vectors."""
    ones = torch.ones_like(ids)
    text = ones.clone()
    text[:, 1 : 1 + vectors] = 0
    return Sequence(backbone.embed(ids), ones, text, gate)


@torch.no_grad()
def _plain(backbone: Backbone, ids: Tensor, head: str) -> None:
    """Embedded text passes as the model itself reads ids, and padding changes nothing."""
    own = backbone.reader(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    _equal(backbone.hidden(_text(backbone, ids)), own, "states of its embeddings are not those of its ids")
    padded = torch.cat([ids, ids[:, :2]], dim=1)
    mask = (torch.arange(padded.shape[1]) < TEXT).long()[None]
    states = [backbone.state(sequence, head) for sequence in (
        _text(backbone, ids), Sequence(backbone.embed(padded), mask, mask))]  # fmt: skip
    _equal(states[1], states[0], "padding changes its states")


@torch.no_grad()
def _word_scores(backbone: Backbone, ids: Tensor, head: str) -> None:
    """Scores of words are the model's own logits."""
    scores = backbone.word_scores(backbone.state(_text(backbone, ids), head), ids)
    _equal(scores, backbone.logits(ids).gather(1, ids).float(), "its own logits are not its output layer's alone")


def _lengths(backbone: Backbone, ids: Tensor, head: str) -> None:
    """A gate of ones is no gate, a dropped vector is not there, and gates have a gradient."""
    kept = torch.ones(1, TEXT)
    kept[0, 1] = 0
    with torch.no_grad():
        whole = backbone.state(_text(backbone, ids, vectors=2), head)
        shorter = backbone.state(_text(backbone, ids[:, kept[0] > 0], vectors=1), head)
    for gate, expected in ((torch.ones(1, TEXT), whole), (kept, shorter)):
        for learned in (False, True):
            gate = gate.clone().requires_grad_(learned)
            state = backbone.state(_text(backbone, ids, gate, vectors=2), head)
            _equal(state, expected, "a dropped vector is not as if it were not there")
            if learned:
                state.square().sum().backward()
                _moves([gate], "a learned length")


def _prefixes(backbone: Backbone, ids: Tensor, head: str) -> None:
    """The prefix of every self-attention is read."""
    heads, dim = backbone.key_value_shape
    generator = torch.Generator().manual_seed(0)
    shape = (1, heads, VECTORS, dim)
    pairs = {module: (torch.randn(shape, generator=generator).requires_grad_(),
                      torch.randn(shape, generator=generator).requires_grad_())
             for module in backbone.self_attentions}  # fmt: skip
    with prefixed(backbone, pairs):
        backbone.state(_text(backbone, ids), head).square().sum().backward()
    _moves([part for pair in pairs.values() for part in pair], "a prefix")


def _lora(backbone: Backbone, ids: Tensor, head: str) -> None:
    """Every projection takes an adapter, which changes nothing before it is tuned."""
    before = backbone.state(_text(backbone, ids), head)
    add_lora(backbone, 1, 1.0, 0.0, 0)
    state = backbone.state(_text(backbone, ids), head)
    _equal(state, before, "an untuned adapter changes its states")
    state.square().sum().backward()
    added = {name: value for name, value in backbone.model.named_parameters() if ".lora_B." in name}
    if len(added) < len(backbone.projections) * len(backbone.self_attentions):
        raise _Differs(f"only {len(added)} of its projections {backbone.projections} take an adapter")
    _moves(list(added.values()), "an adapter")


def _equal(found: Tensor, expected: Tensor, otherwise: str) -> None:
    """Within what float32 rounding leaves of states whose largest number may be in the thousands."""
    if not found.isfinite().all():
        raise _Differs("its states are not finite")
    if found.shape != expected.shape or (found - expected).abs().max() > 1e-3 * expected.abs().max():
        raise _Differs(otherwise)


def _moves(leaves: list[Tensor], what: str) -> None:
    for leaf in leaves:
        if leaf.grad is None or not leaf.grad.isfinite().all() or not leaf.grad.any():
            raise _Differs(f"{what} gets no finite gradient")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"[:300]


def _kind(folder: Path) -> str:
    return f"model of the kind '{files.read_json(folder / 'config.json')['model_type']}'"
