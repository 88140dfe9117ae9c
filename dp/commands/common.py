"""What every command does first: read the parameters with the call's settings."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from dp import paths
from dp.closed import one_of
from dp.errors import UserError, shown
from dp.jobs.job import RECORD, Cell
from dp.study import grid
from dp.study.study import Catalogue, Study, load, load_catalogue, settings_of

# The workflow hands `--config` to its jobs in this variable, as JSON; `--set` goes before it.
SETTINGS_VARIABLE = "DYNAMIC_PROMPTING_SETTINGS"


def study(arguments: argparse.Namespace) -> Study:
    """The study that this call is about: params.yaml of the working directory with the call's settings applied."""
    return load(Path(), _settings(arguments))


def catalogue(arguments: argparse.Namespace) -> Catalogue:
    """What a download needs of it: no scale has to ask for a task or a backbone that is fetched."""
    return load_catalogue(Path(), _settings(arguments))


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    of_workflow: dict[str, Any] = json.loads(os.environ.get(SETTINGS_VARIABLE, "{}"))
    return of_workflow | settings_of(arguments.settings, "--set")


def chosen(study: Study, cells: list[Cell], run: str) -> Cell:
    """The cell of a `--run` among those that a command can make. Raises UserError where it is none of them."""
    known = {cell.run: cell for cell in cells}
    return known[one_of("--run", run, known, f"scale '{study.scale_name}' has no such run")]


def trained(arguments: argparse.Namespace) -> Path:
    """The folder of the run's training. Raises UserError for a run that trains nothing of its own."""
    run = Path(arguments.run)
    if (run / RECORD).is_file():
        return run
    if run.parts[:1] == paths.RESULTS.parts or run.is_dir():
        raise UserError(f"--run: {shown(str(run))} holds no {RECORD}: no training ended there.")
    of = load(Path(), {"folder": "."} | _settings(arguments))  # what is predicted comes from no task's folder
    trained = {cell.run: cell for cell in grid.trainings(of)}
    known = trained | {cell.run: cell for cell in grid.cells(of)}
    cell = known[one_of("--run", arguments.run, known, f"scale '{of.scale_name}' has no such run")]
    training = grid.training(of, cell)
    if training is None:
        raise UserError(f"--run: {shown(cell.variant)} tunes nothing, so there is nothing to predict with.")
    if training.variant != cell.variant:
        raise UserError(f"--run: {cell.variant} is a control of {training.variant}; predict with that one.")
    return paths.train_run(of.scale_name, training.run)
