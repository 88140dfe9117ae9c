"""Predict the reported split with one run and compute its metrics."""

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from dp import files, paths
from dp.backbones.load import load
from dp.classifier.classifier import classifier
from dp.classifier.scoring import score
from dp.commands import common
from dp.data import tokens
from dp.data.few_shot import rows_of
from dp.jobs.record import outputs_of, record_of, recording
from dp.numerics import seeds
from dp.numerics.devices import device
from dp.prompts.prompt import Choices
from dp.results import metrics
from dp.study import grid
from dp.study.protocols import input_width
from dp.study.run import Run, run_of
from dp.training import overflow
from dp.training.state import load_tuned

REPORTED = "validation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="backbone/regime/task/variant/seed<n>")


def run(arguments: argparse.Namespace) -> None:
    study = common.study(arguments)
    cell = common.chosen(study, grid.cells(study), arguments.run)
    this, folder = run_of(study, cell), paths.evaluation(study.scale_name, cell.run)
    training = grid.training(study, cell)
    trained = paths.train_run(study.scale_name, training.run) if training else None
    inputs = outputs_of(this.tokens[cell.task])
    needs_backbone = grid.needs_backbone(study, cell.variant)
    if needs_backbone:
        inputs |= outputs_of(this.backbone)
    for upstream in this.features.values():
        inputs |= outputs_of(upstream)
    if trained:
        inputs |= outputs_of(trained) | record_of(trained)

    outputs = paths.FILES["evaluate"]
    with device(this.config["compute"]) as where, recording(folder, "evaluate", this.config, inputs, outputs) as made:
        splits, facts = tokens.load(this.tokens[cell.task])
        reported, classes = splits[REPORTED], facts["classes"]
        train_labels = torch.tensor([splits["train"].rows[i]["label"] for i in rows_of(cell.regime, splits)[0]])
        counts = torch.bincount(train_labels, minlength=classes)
        majority = int(counts.argmax())
        random = ["random-weights"] if this.config["random_weights"] and needs_backbone else []
        made["labels"] = sorted({*facts["labels"], *random})
        if trained and (ended := overflow.of(files.read_json(trained / "record.json")["made"])):
            files.write_jsonl(folder / "predictions.jsonl", [])
            gold = [row["label"] for row in reported.rows]
            found = metrics.absent(gold, facts["metrics"], REPORTED, majority, ended["overflow"]["why"])
            files.write_json(folder / "metrics.json", found)
            labels = sorted({*made["labels"], overflow.STATUS})
            made |= ended | {"labels": labels, "n": len(gold), "choices": {}}
            return
        if needs_backbone:
            scores, choices = _scores(this, trained, reported, classes, where, str(folder))
        else:
            scores, choices = (counts / counts.sum()).expand(len(reported), -1), None
        predictions = [
            {key: value for key, value in row.items() if key != "label"}
            | {
                "gold": row["label"],
                "prediction": int(scores[i].argmax()),
                "scores": [round(value, 6) for value in scores[i].tolist()],
                "tokens": len(reported.ids[i]),
            }
            | _choices_of(choices, i)
            for i, row in enumerate(reported.rows)
        ]
        files.write_jsonl(folder / "predictions.jsonl", predictions)
        found = metrics.compute(predictions, facts["metrics"], classes, REPORTED, majority_class=majority)
        files.write_json(folder / "metrics.json", found)
        made |= {"n": len(predictions), "choices": _summary(choices)}


def _scores(
    this: Run, trained: Path | None, reported: tokens.Split, classes: int, where: str, progress: str
) -> tuple[Tensor, Choices | None]:
    """Scores [R, C] and choices of the reported rows, from what was trained or, without it, the bare backbone."""
    config, task = this.config, this.config["task"]
    backbone = load(this.backbone, config["family"], config["backbone_head"], config["compute"]["dtype"], where)
    features = load_file(this.features[task] / "features.safetensors")[REPORTED] if this.features else None
    if trained is None:
        return score(classifier(config, backbone, [classes], [], where), reported, features, config, 0, progress)
    made = files.read_json(trained / "record.json")["made"]
    # The model is built as it was trained: with what a search chose, and for every task that it serves.
    model = classifier(files.read_json(trained / "config.json"), backbone, made["classes"], [], where)
    load_tuned(model.kept(), trained / "tuned.safetensors")
    if config["multitask"]:
        number = config["multitask"]["tasks"].index(task)
        reported = replace(reported, tasks=torch.full_like(reported.tasks, number))
    if config["control"] and config["control"]["instances"] == "shuffled":
        assert features is not None
        features = features[_another_row(len(reported), config["seed"])]
    model.check_lengths(input_width(config) or max(len(ids) for ids in reported.ids))
    return score(model, reported, features, config, made["selected_step"], progress)


def _another_row(count: int, seed: int) -> Tensor:
    """[R]: for each row another row, drawn as one cycle through all of them, so that none keeps its own."""
    cycle = torch.randperm(count, generator=seeds.generator(seed, "shuffled instances"))
    other = torch.empty_like(cycle)
    other[cycle] = cycle.roll(-1)
    return other


def _choices_of(choices: Choices | None, row: int) -> dict[str, Any]:
    """`split`, `length` and `pool` of one row; None where the variant has no such thing."""
    found: dict[str, Any] = {"split": None, "length": None, "pool": None}
    if choices is not None:
        found["split"] = int(choices.split[row])
        found["length"] = None if choices.length is None else int(choices.length[row])
        found["pool"] = None if choices.pool is None else [round(value, 4) for value in choices.pool[row].tolist()]
    return found


def _summary(choices: Choices | None) -> dict[str, Any]:
    """What was chosen on the whole: rows per split and per length, and the mean weight of each prompt of the pool."""
    if choices is None:
        return {}
    found: dict[str, Any] = {"split": _counts(choices.split)}
    if choices.length is not None:
        found["length"] = _counts(choices.length)
    if choices.pool is not None:
        found["pool"] = [round(value, 4) for value in choices.pool.mean(0).tolist()]
    return found


def _counts(values: Tensor) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values.tolist()).items())}
