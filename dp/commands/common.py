"""What every command does first: read the parameters with the call's settings."""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from dp.closed import one_of
from dp.jobs.job import Cell
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
