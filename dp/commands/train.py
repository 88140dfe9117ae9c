"""Train one run of the grid."""

import argparse

import torch
from safetensors.torch import load_file, save_file

from dp import files
from dp.backbones.load import load
from dp.classifier import classifier
from dp.commands import common
from dp.data import tokens
from dp.data.counts import label_counts
from dp.devices import device
from dp.lineage.closure import PACKAGE, closure
from dp.lineage.record import outputs_of, recording
from dp.regimes import rows_of
from dp.training.loop import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="backbone/regime/task/variant/seed<n>")


def run(arguments: argparse.Namespace) -> None:
    this = common.run_of(arguments)
    config, folder = this.config, this.train
    inputs = outputs_of(this.tokens) | outputs_of(this.backbone)
    if this.needs_features:
        inputs |= outputs_of(this.features)
    code = [files.sha256(PACKAGE.parent / path) for path in closure("train")]
    identity = files.digest([config, inputs, code, torch.__version__])

    with (
        device(config["compute"]) as where,
        recording(folder, "train", config, inputs, ["tuned.safetensors", "config.json", "steps.jsonl"]) as made,
    ):
        splits, facts = tokens.load(this.tokens)
        train_rows, selection_rows = rows_of(config["regime"], splits)
        features: dict[str, torch.Tensor | None] = {"train": None, "selection": None}
        if this.needs_features:
            cached = load_file(this.features / "features.safetensors")
            features = {"train": cached["train"][train_rows], "selection": cached["selection"][selection_rows]}
        backbone = load(this.backbone, config["family"], config["compute"]["dtype"], where)
        model = classifier(config, backbone, facts["words"], where)
        outcome = train(
            model,
            splits["train"].take(train_rows),
            splits["selection"].take(selection_rows),
            features,
            config,
            folder,
            identity,
        )
        with files.replacing(folder / "tuned.safetensors") as beside:
            save_file(outcome.pop("tensors"), beside)
        files.write_json(folder / "config.json", config)
        counts = {name: label_counts(splits[name].take(rows).rows, len(facts["words"]))
                  for name, rows in (("train", train_rows), ("selection", selection_rows))}  # fmt: skip
        made |= outcome | {"labels": facts["labels"], "label_counts": counts}
