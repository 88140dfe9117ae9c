"""Compute the instance features h(x) of one task under one backbone, once (design section 4)."""

import argparse
import sys
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dp import paths
from dp.backbones.load import load
from dp.commands import common
from dp.data import tokens
from dp.data.batches import collate, evaluation_batches
from dp.errors import UserError
from dp.jobs.record import outputs_of, recording
from dp.numerics import tensors
from dp.numerics.devices import device
from dp.numerics.sequence import Sequence, masked_mean
from dp.study import grid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--task", required=True)
    parser.add_argument(
        "--pooling",
        choices=("masked_mean", "padded_mean"),
        default="masked_mean",
        help="padded_mean: over all max_tokens positions (paper.md section 1)",
    )


def run(arguments: argparse.Namespace) -> None:
    study = common.study(arguments)
    common.check_names(study, arguments)
    config = grid.features_config(study, arguments.backbone, arguments.task, arguments.pooling)
    family = study.params.backbones[arguments.backbone].family
    source = paths.tokens(study.scale_name, arguments.backbone, arguments.task)
    weights = paths.backbone(arguments.backbone)
    folder = paths.features(study.scale_name, arguments.backbone, arguments.task, arguments.pooling)

    inputs = outputs_of(source) | outputs_of(weights)
    with (
        device(config["compute"]) as where,
        recording(folder, "features", config, inputs, paths.FILES["features"]) as made,
        torch.no_grad(),
    ):
        backbone = load(weights, family, config["head"], config["compute"]["dtype"], where)
        splits, _ = tokens.load(source)
        features = {}
        for name, split in splits.items():
            features[name] = torch.empty(len(split), backbone.hidden_size)
            batches = evaluation_batches([len(ids) for ids in split.ids], config["batch_size"])
            for numbers in tqdm(batches, desc=f"features {arguments.task} {name}", unit="batch", file=sys.stderr,
                                mininterval=5):  # fmt: skip
                batch = collate(split, numbers, width=config["width"]).to(where)
                states = backbone.hidden(Sequence(backbone.embed(batch.ids), batch.mask, batch.mask))
                counted = batch.mask if config["pooling"] == "masked_mean" else torch.ones_like(batch.mask)
                features[name][numbers] = masked_mean(states.float(), counted).cpu()
        _check(features, splits, config)
        tensors.save(features, folder / "features.safetensors")
        made |= {"shape": {name: list(value.shape) for name, value in features.items()}}


def _check(features: dict[str, Tensor], splits: dict[str, tokens.Split], config: dict[str, Any]) -> None:
    """Raises UserError that names the first row whose feature is not finite. Of the weights fetch saw to that."""
    for name, found in features.items():
        wrong = (~found.isfinite().all(1)).nonzero().flatten().tolist()
        if wrong:
            split, dtype = splits[name], config["compute"]["dtype"]
            cause = (
                f"the states of the backbone overflow in {dtype}. Set compute.dtype to float32, or choose another one"
            )
            if not len(split.ids[wrong[0]]):
                cause = "it has no tokens. Correct the row, or the task's template"
            raise UserError(
                f"Features of task '{config['task']}' under backbone '{config['backbone']}': {len(wrong)} of "
                f"{len(found)} rows of {name}, {split.rows[wrong[0]]['id']} first, are NaN or infinite: {cause}."
            )
