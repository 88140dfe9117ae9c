"""Token ids of one task under one backbone, as one safetensors file and one list of rows."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional

from dp import files
from dp.numerics import tensors as tensor_files

SPLITS = ("train", "selection", "validation")


@dataclass(frozen=True)
class Split:
    """R rows of one split, or of the same split of several tasks."""

    ids: list[Tensor]  # [T_i] each: what the backbone embeds
    outputs: Tensor  # [R, C]: what scores each class: vocabulary ids (verbalizer), 0..C-1 (linear head), -1 (no class)
    tails: Tensor  # [R]: tokens at the end of ids that stay behind a prompt
    answers: list[Tensor]  # [A_i] each: pieces that a seq2seq decoder reads before the choice, mostly none
    rows: list[dict[str, Any]]  # id, label, group, cluster
    tasks: Tensor  # [R]: number of the task in a union

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, numbers: list[int]) -> "Split":
        return Split(
            [self.ids[i] for i in numbers],
            self.outputs[numbers],
            self.tails[numbers],
            [self.answers[i] for i in numbers],
            [self.rows[i] for i in numbers],
            self.tasks[numbers],
        )

    def of_task(self, number: int) -> "Split":
        """The same rows as those of one task of a union."""
        return replace(self, tasks=torch.full_like(self.tasks, number))


def union(splits: list[Split]) -> Split:
    """The rows of several tasks behind one another. Tasks are numbered 0, 1, ...; outputs are padded with -1."""
    classes = max(split.outputs.shape[1] for split in splits)
    outputs = [functional.pad(split.outputs, (0, classes - split.outputs.shape[1]), value=-1) for split in splits]
    return Split(
        [ids for split in splits for ids in split.ids],
        torch.cat(outputs),
        torch.cat([split.tails for split in splits]),
        [answer for split in splits for answer in split.answers],
        [row for split in splits for row in split.rows],
        torch.cat([torch.full((len(split),), task) for task, split in enumerate(splits)]),
    )


def save(folder: Path, splits: dict[str, Split], facts: dict[str, Any]) -> None:
    """Write tokens.safetensors and rows.json. The splits are those of one task."""
    tensors = {}
    for name, split in splits.items():
        tensors[f"{name}.ids"], tensors[f"{name}.lengths"] = _flat(split.ids)
        tensors[f"{name}.answers"], tensors[f"{name}.answer_lengths"] = _flat(split.answers)
        tensors[f"{name}.outputs"] = split.outputs.to(torch.int32)
        tensors[f"{name}.tails"] = split.tails.to(torch.int32)
    tensor_files.save(tensors, folder / "tokens.safetensors")
    files.write_json(folder / "rows.json", facts | {"rows": {name: split.rows for name, split in splits.items()}})


def load(folder: Path) -> tuple[dict[str, Split], dict[str, Any]]:
    """The three splits and the facts beside them: task, classes, label_names, metrics, labels."""
    facts = files.read_json(folder / "rows.json")
    rows = facts.pop("rows")
    splits = {}
    with safe_open(folder / "tokens.safetensors", "pt") as tensors:
        for name in SPLITS:
            stored = {
                key: tensors.get_tensor(f"{name}.{key}").long()
                for key in ("ids", "lengths", "answers", "answer_lengths", "outputs", "tails")
            }
            splits[name] = Split(
                list(stored["ids"].split(stored["lengths"].tolist())),
                stored["outputs"],
                stored["tails"],
                list(stored["answers"].split(stored["answer_lengths"].tolist())),
                rows[name],
                torch.zeros(len(rows[name]), dtype=torch.long),
            )
    return splits, facts


def _flat(rows: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(values of all rows, length of each), int32."""
    lengths = torch.tensor([len(row) for row in rows], dtype=torch.int32)
    return torch.cat(rows).to(torch.int32), lengths
