"""Rows in pieces: the rendered text, what is read behind it before the choice, and what scores the classes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from dp.data.choices import Answer
from dp.data.tokens import Split
from dp.errors import UserError

ENDING = {"seq2seq": 1, "causal": 0, "encoder": 1}
"""Special tokens behind a text: </s>, none, [SEP]."""


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


def encode(
    tokenizer: Any,
    family: str,
    head: str,
    render: Callable[[dict[str, str]], str],
    answer: Answer,
    row: dict[str, Any],
    truncate: str,
    max_tokens: int,
) -> tuple[Example, bool]:
    """One row in pieces, and whether it was truncated. Only the text of the field `truncate` gets shorter.

    The pieces that the row's choices share are read before the choice: by the decoder (seq2seq), behind the text
    (causal), or between the text and the [MASK] that a verbalizer puts at the end (encoder). max_tokens counts all of
    ids. Raises UserError where the row does not fit even with the field empty, where the tokenizer has no mask token to
    put there, or where it ends a text otherwise than its family does.
    """
    answer_pieces, behind = (answer.shared, []) if family == "seq2seq" else ([], list(answer.shared))
    if family == "encoder" and head == "verbalizer":
        if tokenizer.mask_token_id is None:
            raise UserError("the tokenizer has no mask token, which label words need; set the backbone's head: linear.")
        behind.append(tokenizer.mask_token_id)
    ids, cut = _text(tokenizer, ENDING[family], render, row, truncate, max_tokens, len(behind))
    text, ending = ids[: len(ids) - ENDING[family]], ids[len(ids) - ENDING[family] :]
    return Example([*text, *behind, *ending], answer.outputs, len(behind) + len(ending), answer_pieces), cut


def _text(
    tokenizer: Any,
    ending: int,
    render: Callable[[dict[str, str]], str],
    row: dict[str, Any],
    truncate: str,
    max_tokens: int,
    behind: int,
) -> tuple[list[int], bool]:
    """Ids of the rendered text, at most max_tokens together with the `behind` ones that join them."""
    made = tokenizer(render(row["fields"]), return_special_tokens_mask=True)
    ids, special = made["input_ids"], made["special_tokens_mask"]
    if sum(special[-2:]) != ending:
        raise UserError(
            f"row {row['id']}: the tokenizer ends it with {tokenizer.convert_ids_to_tokens(ids[-2:])}; a backbone of "
            f"this family needs {ending} special tokens there. Correct the backbone's family or its tokenizer."
        )
    if len(ids) + behind <= max_tokens:
        return ids, False
    text = row["fields"][truncate]
    ends = [end for _, end in tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]]
    kept = len(ends)
    while len(ids) + behind > max_tokens:
        if kept == 0:
            raise UserError(
                f"row {row['id']}: {len(ids) + behind} tokens even without its {truncate}; raise max_tokens above "
                f"{max_tokens}."
            )
        kept = max(0, kept - (len(ids) + behind - max_tokens))
        shorter = text[: ends[kept - 1]] if kept else ""
        ids = tokenizer(render(row["fields"] | {truncate: shorter}))["input_ids"]
    return ids, True
