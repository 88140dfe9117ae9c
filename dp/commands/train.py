"""Train one run of the grid."""

import argparse

import torch
from safetensors.torch import load_file, save_file

from dp import files, grid, paths
from dp.backbones.load import load
from dp.classifier import classifier
from dp.commands import common
from dp.data import tokens
from dp.devices import device
from dp.lineage.closure import PACKAGE, closure
from dp.lineage.record import outputs_of, recording
from dp.regimes import rows_of
from dp.training.loop import train


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="backbone/regime/task/variant/seed<n>")


def run(arguments: argparse.Namespace) -> None:
    study = common.study(arguments)
    cell = common.cell(study, arguments.run)
    config = grid.run_config(study, cell)
    folder = paths.train_run(study.scale_name, cell.run)
    token_folder = paths.tokens(study.scale_name, cell.backbone, cell.task)
    feature_folder = paths.features(study.scale_name, cell.backbone, cell.task)
    weights = paths.backbone(cell.backbone)
    inputs = outputs_of(token_folder) | outputs_of(weights)
    instance = grid.needs_features(study, cell.variant)
    if instance:
        inputs |= outputs_of(feature_folder)
    code = [files.sha256(PACKAGE.parent / path) for path in closure("train")]
    identity = files.digest([config, inputs, code, torch.__version__])

    with (
        device(config["compute"]) as where,
        recording(folder, "train", config, inputs, ["tuned.safetensors", "config.json", "steps.jsonl"]) as made,
    ):
        splits, facts = tokens.load(token_folder)
        train_rows, selection_rows = rows_of(cell.regime, splits)
        features: dict[str, torch.Tensor | None] = {"train": None, "selection": None}
        if instance:
            cached = load_file(feature_folder / "features.safetensors")
            features = {"train": cached["train"][train_rows], "selection": cached["selection"][selection_rows]}
        backbone = load(weights, config["family"], config["compute"]["dtype"], where)
        model = classifier(config, backbone, facts["words"], where)
        outcome = train(
            model, splits["train"].take(train_rows), splits["selection"].take(selection_rows),
            features, config, folder, identity,
        )  # fmt: skip
        with files.replacing(folder / "tuned.safetensors") as beside:
            save_file(outcome.pop("tensors"), beside)
        files.write_json(folder / "config.json", config)
        made |= outcome | {"labels": facts["labels"]}
