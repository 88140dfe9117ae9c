"""Token ids of one task under one backbone, as one safetensors file and one list of rows."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from dp import files
from dp.errors import UserError

SPLITS = ("train", "selection", "validation")


@dataclass(frozen=True)
class Split:
    """Rows of one split: ids[i] is a [T_i] tensor; rows[i] holds id, label, group, cluster."""

    ids: list[Tensor]
    rows: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, numbers: list[int]) -> "Split":
        return Split([self.ids[i] for i in numbers], [self.rows[i] for i in numbers])


def encode(
    tokenizer: Any, render: Callable[[dict[str, str]], str], row: dict[str, Any], truncate: str, max_tokens: int
) -> tuple[list[int], bool]:
    """Ids of one rendered row, and whether it was truncated. Only the text of the field `truncate` gets shorter.

    Raises UserError where the row does not fit even with that field empty.
    """
    ids = tokenizer(render(row["fields"]))["input_ids"]
    if len(ids) <= max_tokens:
        return ids, False
    text = row["fields"][truncate]
    ends = [end for _, end in tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]]
    kept = len(ends)
    while len(ids) > max_tokens:
        if kept == 0:
            raise UserError(
                f"row {row['id']}: {len(ids)} tokens even without its {truncate}; raise max_tokens above {max_tokens}."
            )
        kept = max(0, kept - (len(ids) - max_tokens))
        shorter = text[: ends[kept - 1]] if kept else ""
        ids = tokenizer(render(row["fields"] | {truncate: shorter}))["input_ids"]
    return ids, True


def word_id(tokenizer: Any, word: str) -> int:
    """The id of a label word. Raises UserError unless the vocabulary has it as one piece."""
    ids = tokenizer(word, add_special_tokens=False)["input_ids"]
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        pieces = tokenizer.convert_ids_to_tokens(ids)
        raise UserError(f"label word {word!r} is not one piece of the vocabulary but {pieces}; choose another word.")
    return ids[0]


def save(folder: Path, splits: dict[str, Split], facts: dict[str, Any]) -> None:
    tensors = {}
    for name, split in splits.items():
        tensors[f"{name}.ids"] = torch.cat(split.ids).to(torch.int32)
        tensors[f"{name}.lengths"] = torch.tensor([len(ids) for ids in split.ids], dtype=torch.int32)
    with files.replacing(folder / "tokens.safetensors") as beside:
        save_file(tensors, beside)
    files.write_json(folder / "rows.json", facts | {"rows": {name: split.rows for name, split in splits.items()}})


def load(folder: Path) -> tuple[dict[str, Split], dict[str, Any]]:
    """The three splits and the facts beside them: words, label_names, metrics, labels."""
    facts = files.read_json(folder / "rows.json")
    rows = facts.pop("rows")
    splits = {}
    with safe_open(folder / "tokens.safetensors", "pt") as tensors:
        for name in SPLITS:
            lengths = tensors.get_tensor(f"{name}.lengths").tolist()
            ids = tensors.get_tensor(f"{name}.ids").long().split(lengths)
            splits[name] = Split(list(ids), rows[name])
    return splits, facts
