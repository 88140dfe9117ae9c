"""Train one run of the grid, or one trial of its search."""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from dp import files, paths
from dp.backbones.load import load
from dp.classifier.classifier import classifier
from dp.commands import common
from dp.data import tokens
from dp.data.counts import label_counts
from dp.data.few_shot import rows_of
from dp.jobs.closure import code_digest
from dp.jobs.record import outputs_of, record_of, recording
from dp.numerics import tensors
from dp.numerics.devices import device
from dp.numerics.finite import check_finite
from dp.study import grid, search
from dp.study.run import Run, run_of
from dp.training import overflow
from dp.training.loop import Rows, train
from dp.training.state import load_choice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="backbone/regime/task/variant/seed<n> or .../trial<n>")


def run(arguments: argparse.Namespace) -> None:
    study = common.study(arguments)
    cell = common.chosen(study, grid.needed_trainings(study), arguments.run)
    this, folder = run_of(study, cell), paths.train_run(study.scale_name, cell.run)
    sources = {
        factor: paths.train_run(study.scale_name, other.run) for factor, other in grid.sources(study, cell).items()
    }
    asked, inputs = this.config, outputs_of(this.backbone)
    for upstream in (*this.tokens.values(), *this.features.values()):
        inputs |= outputs_of(upstream)
    for source in sources.values():
        inputs |= outputs_of(source) | record_of(source)
    config, setting = asked, asked["trial"]
    if asked["search"] and cell.trial is None:
        choice = paths.choice(study.scale_name, cell.variant_path)
        inputs |= outputs_of(choice)
        setting = files.read_json(choice / "choice.json")["setting"]
        config = search.applied(asked, setting)
    identity = files.digest([config, inputs, code_digest("train"), torch.__version__])

    with (
        device(config["compute"]) as where,
        recording(folder, "train", asked, inputs, paths.FILES["train"]) as made,
    ):
        train_rows, selection, facts, counts = rows_of_run(this, config)
        backbone = load(this.backbone, config["family"], config["backbone_head"], config["compute"]["dtype"], where)
        words = sorted({int(word) for rows in selection for word in rows.split.outputs.flatten() if word >= 0})
        model = classifier(config, backbone, [fact["classes"] for fact in facts], words, where)
        model.fit_features(train_rows.features)
        for factor, source in sources.items():
            load_choice(model.kept(), factor, source / "tuned.safetensors")
        if ended := _ended(sources.values()):
            outcome = overflow.inherited(model, ended)
            files.write_jsonl(folder / "steps.jsonl", [])
        else:
            outcome = train(model, train_rows, selection, config, folder, identity)
        tuned = outcome.pop("tensors")
        check_finite(tuned, str(folder), "Nothing is saved; lower the learning rate.")
        tensors.save(tuned, folder / "tuned.safetensors")
        files.write_json(folder / "config.json", config)
        made |= outcome | {
            "labels": sorted({label for fact in facts for label in fact["labels"]}),
            "trials": asked["search"]["trials"] if asked["search"] else 1,
            "setting": setting,
            "classes": [fact["classes"] for fact in facts],
            "label_counts": counts,
            "steps_before": sum(_steps(source) for source in sources.values()),
        }


def rows_of_run(this: Run, config: dict[str, Any]) -> tuple[Rows, list[Rows], list[dict[str, Any]], dict[str, Any]]:
    """The rows to train on; by task, the rows to select by and the facts; and the rows of each class, by task."""
    parts: list[tuple[tokens.Split, Tensor | None]] = []
    selection, facts, counts = [], [], {}
    reported = "select_on_reported" in config["switches"]
    for number, (task, folder) in enumerate(this.tokens.items()):
        splits, fact = tokens.load(folder)
        facts.append(fact)
        train_numbers, numbers = rows_of(config["regime"], splits)
        cached = load_file(this.features[task] / "features.safetensors") if this.features else None
        parts.append((splits["train"].take(train_numbers), cached["train"][train_numbers] if cached else None))
        name = "validation" if reported else "selection"
        chosen = list(range(len(splits[name]))) if reported else numbers
        own = splits[name].take(chosen)
        own = replace(own, tasks=torch.full_like(own.tasks, number))
        selection.append(Rows(own, cached[name][chosen] if cached else None))
        counts[task] = {
            "train": label_counts(parts[-1][0].rows, fact["classes"]),
            "selection": label_counts(own.rows, fact["classes"]),
        }
    found = [features for _, features in parts if features is not None]
    train_rows = Rows(tokens.union([split for split, _ in parts]), torch.cat(found) if found else None)
    return train_rows, selection, facts, counts


def _ended(sources: Iterable[Path]) -> dict[str, Any] | None:
    """The status that a source ended in: a choice that was never learned is not frozen and trained on."""
    made = [files.read_json(source / "record.json")["made"] for source in sources]
    return next((ended for one in made if (ended := overflow.of(one))), None)


def _steps(source: Path) -> int:
    made = files.read_json(source / "record.json")["made"]
    return made["steps"] + made["steps_before"]
