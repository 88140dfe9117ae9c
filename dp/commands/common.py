"""What every command does first: read the parameters with the call's settings."""

import argparse
import difflib
import json
import os
from pathlib import Path

import yaml

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
