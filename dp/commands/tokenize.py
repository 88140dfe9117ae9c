"""Render and tokenize one task for one backbone, and fix its three splits."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from dp import files, paths
from dp.backbones.load import load_tokenizer
from dp.commands import common
from dp.data import enough, splits, tokens
from dp.data.choices import answering
from dp.data.counts import label_counts
from dp.data.encoding import DoesNotFit, encode, gather
from dp.errors import UserError
from dp.jobs.project import project_inputs
from dp.jobs.record import outputs_of, recording
from dp.study import grid, needs
from dp.study.params import FewShot
from dp.study.study import Study
from dp.tasks.model import load, released_spans, render

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--task", required=True)


def run(arguments: argparse.Namespace) -> None:
    study = common.study(arguments)
    common.check_names(study, arguments)
    needs.check_tasks(study)
    config = grid.tokens_config(study, arguments.backbone, arguments.task)
    inputs = project_inputs("tokenize", arguments.task)
    task = load(arguments.task)
    source, backbone = paths.task_rows(arguments.task, study.source), paths.backbone(arguments.backbone)
    folder = paths.tokens(study.scale_name, arguments.backbone, arguments.task)
    inputs |= outputs_of(source) | outputs_of(backbone, without="model.safetensors")
    needs.check(study, arguments.backbone)
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
        try:
            enough.check(chosen, official, task.label_names, _few_shot(study, task.name), _selects(study))
        except UserError as error:
            raise UserError(f"task '{task.name}', scale '{study.scale_name}': {error}") from None
        encoded, truncated = {}, {}
        truncate = partial(released_spans, task, family) if config.get("truncate_as_released") else task.truncate
        try:
            answer_of = answering(tokenizer, task, family, head)
            for name, rows in chosen.items():
                pairs = _fitting(
                    name,
                    rows,
                    lambda row: encode(
                        tokenizer, family, head, text_of, answer_of(row), row, truncate, config["max_tokens"]
                    ),
                )
                truncated[name] = sum(cut for _, cut in pairs)
                kept = [{key: row[key] for key in ("id", "label", "group", "cluster")} for row in rows]
                encoded[name] = gather([example for example, _ in pairs], kept)
        except UserError as error:
            raise UserError(f"dp/tasks/{task.name}.yaml, templates.{family}: {error}") from None
        longest = max(len(ids) for split in encoded.values() for ids in split.ids)
        needs.check_positions(study, arguments.backbone, task.name, longest)
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


def _fitting(split: str, rows: list[dict[str, Any]], encoded: Callable[[dict[str, Any]], T]) -> list[T]:
    """Every row encoded. Raises UserError that says how many do not fit, and what the longest of them needs."""
    found, misfits = [], []
    for row in rows:
        try:
            found.append(encoded(row))
        except DoesNotFit as misfit:
            misfits.append(misfit)
    if misfits:
        longest = max(misfits, key=lambda misfit: misfit.needed)
        raise UserError(f"{split}: {len(misfits)} of {len(rows)} rows do not fit into max_tokens; at worst {longest}")
    return found


def _few_shot(study: Study, task: str) -> list[int]:
    """The k of the scale's few-shot regimes on a task."""
    regimes = [part for part in study.scale.regimes if isinstance(part, FewShot) and task in study.tasks_in(part)]
    return [k for part in regimes for k in part.k]


def _selects(study: Study) -> bool:
    return "select_on_reported" not in study.params.protocols[study.scale.protocol]


def _take(
    rows: list[dict[str, Any]], numbers: list[int], count: int | None, seed: int, purpose: str
) -> list[dict[str, Any]]:
    pool = [rows[i] for i in numbers]
    return [pool[i] for i in splits.draw(pool, count, seed, purpose)]
