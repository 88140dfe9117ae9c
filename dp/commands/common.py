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
from dp.study import Study, load

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


def chosen(study: Study, cells: list[Cell], run: str) -> Cell:
    """The cell of a `--run` among those that a command can make. Raises UserError where it is none of them."""
    known = {cell.run: cell for cell in cells}
    if run in known:
        return known[run]
    close = difflib.get_close_matches(run, known, n=1, cutoff=0.0)
    hint = f"the nearest is {close[0]}" if close else "it has none of this kind"
    raise UserError(f"--run {run}: scale '{study.scale_name}' has no such run; {hint}.")


class Run(NamedTuple):
    """One run: its resolved configuration, and the folders that it reads."""

    config: dict[str, Any]
    tokens: dict[str, Path]  # by task
    features: dict[str, Path]  # by task; empty where the variant reads none
    backbone: Path


def run_of(study: Study, cell: Cell) -> Run:
    """What a training or an evaluation reads."""
    scale, tasks = study.scale_name, grid.tasks_of(study, cell)
    pooling = grid.pooling(study, cell.variant)
    needed = tasks if grid.needs_features(study, cell.variant) else []
    return Run(
        config=grid.run_config(study, cell),
        tokens={task: paths.tokens(scale, cell.backbone, task) for task in tasks},
        features={task: paths.features(scale, cell.backbone, task, pooling) for task in needed},
        backbone=paths.backbone(cell.backbone),
    )
