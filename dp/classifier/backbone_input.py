"""What a classifier lets its frozen backbone read: one batch with what is tuned in it, or several runs' batches as one.

Rows of a batch know nothing of each other, so runs of one backbone can share a forward and a backward pass, each with
the prompts of its own in its own rows (design section 16).
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from dp.backbones.attention import prefixed
from dp.backbones.backbone import Backbone
from dp.numerics.sequence import Sequence

Keys = list[tuple[Tensor, Tensor]]
"""Key and value [B, heads, P, dim] of every layer."""


class BackboneInput(NamedTuple):
    sequence: Sequence  # [B, N, H]
    head: str
    answers: Tensor | None = None  # [B, A], right-padded with -1
    prefix: Keys | None = None


def read(backbone: Backbone, reading: BackboneInput) -> Tensor:
    """What the head reads of each row: [B, H], float32."""
    if reading.prefix is None:
        return backbone.state(reading.sequence, reading.head, reading.answers)
    with prefixed(backbone, dict(zip(backbone.self_attentions, reading.prefix, strict=True))):
        return backbone.state(reading.sequence, reading.head, reading.answers)


def joined(readings: list[BackboneInput]) -> BackboneInput:
    """The rows of all of them, one after the other, padded to the widest. They are of one backbone and one variant."""
    sequences = [one.sequence for one in readings]
    width = max(one.embeds.shape[1] for one in sequences)
    padded: bool | None = any(one.padded or one.embeds.shape[1] < width for one in sequences)
    if any(one.padded is None for one in sequences):
        padded = None
    gates = [_widened(one.gate, width) for one in sequences if one.gate is not None]
    answers = [one.answers for one in readings if one.answers is not None]
    longest = max((one.shape[1] for one in answers), default=0)
    return BackboneInput(
        Sequence(
            embeds=torch.cat([pad(one.embeds, (0, 0, 0, width - one.embeds.shape[1])) for one in sequences]),
            present=torch.cat([_widened(one.present, width) for one in sequences]),
            text=torch.cat([_widened(one.text, width) for one in sequences]),
            gate=torch.cat(gates) if gates else None,
            padded=padded,
        ),
        readings[0].head,
        torch.cat([_widened(_answers(one), longest, -1) for one in readings]) if answers else None,
        _stacked([one.prefix for one in readings if one.prefix is not None]),
    )


def flowing(reading: BackboneInput) -> list[Tensor]:
    """What gradients can flow through to what is tuned: vectors, gate, keys and values."""
    gates = [] if reading.sequence.gate is None else [reading.sequence.gate]
    return [reading.sequence.embeds, *gates, *(one for layer in reading.prefix or [] for one in layer)]


def taken(reading: BackboneInput, rows: slice, apart: bool = False) -> BackboneInput:
    """Some of its rows, as wide as they are. apart: `flowing` are leaves of their own, which wait for a gradient."""

    def cut(value: Tensor) -> Tensor:
        return value[rows].detach().requires_grad_(value.requires_grad) if apart else value[rows]

    sequence, answers, prefix = reading.sequence, reading.answers, reading.prefix
    return reading._replace(
        sequence=sequence._replace(
            embeds=cut(sequence.embeds),
            present=sequence.present[rows],
            text=sequence.text[rows],
            gate=None if sequence.gate is None else cut(sequence.gate),
        ),
        answers=None if answers is None else answers[rows],
        prefix=prefix and [(cut(key), cut(value)) for key, value in prefix],
    )


def _widened(values: Tensor, width: int, filler: int = 0) -> Tensor:
    """[B, N] -> [B, width]."""
    return pad(values, (0, width - values.shape[1]), value=filler)


def _answers(reading: BackboneInput) -> Tensor:
    """[B, A]; no column where no row has any."""
    embeds = reading.sequence.embeds
    if reading.answers is None:
        return torch.empty(len(embeds), 0, dtype=torch.long, device=embeds.device)
    return reading.answers


def _stacked(prefixes: list[Keys]) -> Keys | None:
    if not prefixes:
        return None
    return [
        (torch.cat([key for key, _ in layer]), torch.cat([value for _, value in layer]))
        for layer in zip(*prefixes, strict=True)
    ]
