"""Render and tokenize one task for one backbone, and fix its three splits."""

import argparse
from functools import partial
from typing import Any

from dp import files, grid, paths
from dp.backbones.load import load_tokenizer
from dp.commands import common
from dp.data import splits, tokens
from dp.data.choices import answering
from dp.data.counts import label_counts
from dp.data.encoding import encode, gather
from dp.errors import UserError
from dp.lineage.project import project_inputs
from dp.lineage.record import outputs_of, recording
from dp.tasks.model import load, render


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--task", required=True)


def run(arguments: argparse.Namespace) -> None:
    study = common.study(arguments)
    config = grid.tokens_config(study, arguments.backbone, arguments.task)
    inputs = project_inputs("tokenize", arguments.task)
    task = load(arguments.task)
    source, backbone = paths.task_rows(arguments.task, study.source), paths.backbone(arguments.backbone)
    folder = paths.tokens(study.scale_name, arguments.backbone, arguments.task)
    inputs |= outputs_of(source) | outputs_of(backbone, without="model.safetensors")
    tokenizer = load_tokenizer(backbone)
    family, head = config["family"], config["head"]
    text_of = partial(render, task, family)
    limits = study.scale.rows

    with recording(folder, "tokenize", config, inputs, paths.FILES["tokenize"]) as made:
        official = files.read_jsonl(source / "train.jsonl")
        reported = files.read_jsonl(source / "validation.jsonl")
        train, selection = splits.carve(official, limits.selection_fraction, limits.seed)
        chosen = {
            "train": _take(official, train, limits.train, limits.seed, "train rows"),
            "selection": _take(official, selection, limits.selection, limits.seed, "selection rows"),
            "validation": _take(reported, list(range(len(reported))), limits.report, limits.seed, "report rows"),
        }
        encoded, truncated = {}, {}
        try:
            answer_of = answering(tokenizer, task, family, head)
            for name, rows in chosen.items():
                pairs = [
                    encode(tokenizer, family, head, text_of, answer_of(row), row, task.truncate, config["max_tokens"])
                    for row in rows
                ]
                truncated[name] = sum(cut for _, cut in pairs)
                kept = [{key: row[key] for key in ("id", "label", "group", "cluster")} for row in rows]
                encoded[name] = gather([example for example, _ in pairs], kept)
        except UserError as error:
            raise UserError(f"dp/tasks/{task.name}.yaml, templates.{family}: {error}") from None
        available = {"train": len(train), "selection": len(selection), "validation": len(reported)}
        labels = list(task.labels)
        if any(len(rows) < available[name] for name, rows in chosen.items() if name != "selection"):
            labels.append("subset")
        facts = {"task": task.name, "classes": len(task.label_names), "label_names": task.label_names,
                 "metrics": task.metrics, "labels": sorted(labels)}  # fmt: skip
        tokens.save(folder, encoded, facts)
        made |= {
            "rows": {name: len(rows) for name, rows in chosen.items()},
            "available": available,
            "truncated": truncated,
            "label_counts": {name: label_counts(rows, len(task.label_names)) for name, rows in chosen.items()},
            "tokens": {name: int(sum(len(ids) for ids in split.ids)) for name, split in encoded.items()},
            "selection_split": f"{limits.selection_fraction:g} of train, carved with seed {limits.seed}",
            "labels": facts["labels"],
        }


def _take(
    rows: list[dict[str, Any]], numbers: list[int], count: int | None, seed: int, purpose: str
) -> list[dict[str, Any]]:
    pool = [rows[i] for i in numbers]
    return [pool[i] for i in splits.draw(pool, count, seed, purpose)]
