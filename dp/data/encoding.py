"""Rows in pieces: the rendered text, what is read behind it before the choice, and what scores the classes."""

from collections.abc import Callable
from itertools import takewhile
from typing import Any, NamedTuple

import torch

from dp.backbones.families import FAMILIES
from dp.backbones.names import Family
from dp.data.choices import Answer
from dp.data.tokens import Split
from dp.errors import UserError, shown

Released = Callable[[dict[str, str]], list[tuple[int, int]]]
"""A row's fields -> where those that may be cut stand in its rendered text, in the order in which they are cut."""


class Example(NamedTuple):
    """One row in pieces, as Split holds it."""

    ids: list[int]
    outputs: list[int]
    tail: int
    answer: list[int]


def gather(examples: list[Example], rows: list[dict[str, Any]]) -> Split:
    """The Split of one task."""
    return Split(
        [torch.tensor(example.ids) for example in examples],
        torch.tensor([example.outputs for example in examples]),
        torch.tensor([example.tail for example in examples]),
        [torch.tensor(example.answer, dtype=torch.long) for example in examples],
        rows,
        torch.zeros(len(rows), dtype=torch.long),
    )


class DoesNotFit(UserError):
    """A row that is too long however much of it is cut; `needed`: the tokens that it would take."""

    def __init__(self, row: dict[str, Any], needed: int, cut: str, max_tokens: int) -> None:
        super().__init__(
            f"row {row['id']}: {needed} tokens even without {cut}; raise max_tokens above {max_tokens}, to {needed}."
        )
        self.needed = needed


def encode(
    tokenizer: Any,
    family: Family,
    head: str,
    render: Callable[[dict[str, str]], str],
    answer: Answer,
    row: dict[str, Any],
    truncate: str | Released,
    max_tokens: int,
) -> tuple[Example, bool]:
    """One row in pieces, and whether it was truncated: only the text of the field `truncate` gets shorter, or, under
    the switch truncate_as_released, pieces of the fields that the released code shortens are dropped.

    What is read before the choice, beside the text, is the family's: `Backbone.read`. max_tokens counts all of ids.
    Raises UserError where the row has no text or does not fit, where the tokenizer lacks what the family reads, or
    where it ends a text otherwise than the family does.
    """
    ending = FAMILIES[family].ending
    decoded, behind = FAMILIES[family].read(tokenizer, head, list(answer.shared))
    ids, special = _whole(tokenizer, render, row)
    if sum(1 for _ in takewhile(bool, reversed(special))) != ending:
        raise UserError(
            f"row {row['id']}: the tokenizer ends it with {tokenizer.convert_ids_to_tokens(ids[-2:])}; a backbone of "
            f"this family needs {ending} special tokens there. Correct the backbone's family or its tokenizer."
        )
    room = max_tokens - len(behind)
    if cut := len(ids) > room:
        if isinstance(truncate, str):
            ids, gone = _shorter_text(tokenizer, render, row, truncate, room), f"its {truncate}"
        else:
            spans = truncate(row["fields"])
            ids, gone = _fewer_pieces(tokenizer, render(row["fields"]), spans, room), "what may be cut of it"
        least = max(len(ids), sum(special) + 1)  # one piece of its own, or the row would be an empty text
        if least > room:
            raise DoesNotFit(row, least + len(behind), gone, max_tokens)
    end = len(ids) - ending
    return Example([*ids[:end], *behind, *ids[end:]], answer.outputs, len(behind) + ending, decoded), cut


def _whole(tokenizer: Any, render: Callable[[dict[str, str]], str], row: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Ids of a row's text, and which are special. Raises UserError for a text of which a tokenizer leaves nothing."""
    text = render(row["fields"])
    made = tokenizer(text, return_special_tokens_mask=True)
    ids, special = made["input_ids"], made["special_tokens_mask"]
    if not text.strip() or all(special):
        raise UserError(
            f"row {row['id']}: its text, {shown(repr(text))}, is empty, or nothing that the tokenizer keeps, so there "
            "is nothing to classify. Leave the row out of the source, or give the template words of its own."
        )
    return ids, special


def _shorter_text(
    tokenizer: Any, render: Callable[[dict[str, str]], str], row: dict[str, Any], field: str, room: int
) -> list[int]:
    """Ids of the text with a shorter field, cut behind a piece and tokenized again; more than `room` where it must."""
    text = row["fields"][field]
    ends = [end for _, end in tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]]
    ids, kept = tokenizer(render(row["fields"]))["input_ids"], len(ends)
    while len(ids) > room and kept:
        kept = max(0, kept - (len(ids) - room))
        shorter = text[: ends[kept - 1]] if kept else ""
        ids = tokenizer(render(row["fields"] | {field: shorter}))["input_ids"]
    return ids


def _fewer_pieces(tokenizer: Any, text: str, spans: list[tuple[int, int]], room: int) -> list[int]:
    """Ids without the last pieces of the first span, then of the next; more than `room` where it must."""
    made = tokenizer(text, return_special_tokens_mask=True, return_offsets_mapping=True)
    ids, ends = made["input_ids"], [end for _, end in made["offset_mapping"]]
    kept = list(range(len(ids)))
    for start, end in spans:
        inside = [i for i in kept if not made["special_tokens_mask"][i] and start < ends[i] <= end]
        excess = max(0, len(kept) - room)
        dropped = set(inside[max(0, len(inside) - excess) :])
        kept = [i for i in kept if i not in dropped]
    return [ids[i] for i in kept]
