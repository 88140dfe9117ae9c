"""What every command does first: read the parameters with the call's settings."""

import argparse
import difflib
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dp import grid, paths
from dp.errors import UserError
from dp.grid import Cell
from dp.params import Study, load

# The workflow hands `--config` to its jobs in this variable, as JSON; `--set` goes before it.
SETTINGS_VARIABLE = "DYNAMIC_PROMPTING_SETTINGS"


def study(arguments: argparse.Namespace) -> Study:
    """The study that this call is about: params.yaml of the working directory with the call's settings applied."""
    settings = json.loads(os.environ.get(SETTINGS_VARIABLE, "{}"))
    for setting in arguments.settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UserError(f"--set {setting}: write it as key=value, for example --set scale=smoke.")
        settings[key] = yaml.safe_load(value)
    return load(Path(), settings)


def cell(study: Study, run: str) -> Cell:
    """The cell of a `--run`. Raises UserError where the scale has no such run."""
    try:
        return grid.cell_of(study, run)
    except KeyError:
        known = [cell.run for cell in grid.cells(study)]
        close = difflib.get_close_matches(run, known, n=1, cutoff=0.0)
        raise UserError(
            f"--run {run}: scale '{study.scale_name}' has no such run; the nearest is {close[0]}."
        ) from None


class Run(NamedTuple):
    """One run: its resolved configuration, and the folders that it reads and writes."""

    config: dict[str, Any]
    tokens: Path
    features: Path
    backbone: Path
    train: Path
    evaluation: Path
    is_trained: bool
    needs_features: bool
    needs_backbone: bool


def run_of(arguments: argparse.Namespace) -> Run:
    """The run that `--run` names. Raises UserError where the scale has no such run."""
    chosen = study(arguments)
    place, scale = cell(chosen, arguments.run), chosen.scale_name
    return Run(
        config=grid.run_config(chosen, place),
        tokens=paths.tokens(scale, place.backbone, place.task),
        features=paths.features(scale, place.backbone, place.task),
        backbone=paths.backbone(place.backbone),
        train=paths.train_run(scale, place.run),
        evaluation=paths.evaluation(scale, place.run),
        is_trained=grid.is_trained(chosen, place.variant),
        needs_features=grid.needs_features(chosen, place.variant),
        needs_backbone=grid.needs_backbone(chosen, place.variant),
    )
