"""`dp predict`: labels and probabilities for texts of one's own, from what a run tuned."""

import argparse
import json
from pathlib import Path
from typing import Any

from dp.commands import common
from dp.errors import UserError, shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="backbone/regime/task/variant/seed<n> of the scale, or its folder")
    parser.add_argument("--task", help="of a run that serves several: which one")
    parser.add_argument("--text", action="append", default=[], help="a text, for a task with one field; or several")
    parser.add_argument("--field", action="append", default=[], metavar="NAME=TEXT", help="one row, a field at a time")
    parser.add_argument("--file", type=Path, help="rows: .csv, .tsv or .jsonl, with the task's fields, and `id` if any")
    parser.add_argument("--separator", help="what stands between two columns of the file, where it is no comma")
    parser.add_argument(
        "--out", type=Path, help="where to write them, .jsonl or .csv (default: lines of JSON, printed)"
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        help="rows of the longest length at once, of shorter ones more (default: as the run was evaluated)",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def run(arguments: argparse.Namespace) -> None:
    """Print or write a prediction for each row. Raises UserError where the rows, or the run, are not fit for it."""
    if sum(map(bool, (arguments.text, arguments.field, arguments.file))) != 1:
        raise UserError("Give rows in one of three ways: --text, --field for each field of one row, or --file.")
    if arguments.batch_size is not None and arguments.batch_size < 1:
        raise UserError(f"--batch-size: must be 1 or more, not {arguments.batch_size}.")
    folder = common.trained(arguments)
    from dp.inference import given
    from dp.inference.predictor import Predictor

    if arguments.out:
        given.check_out(arguments.out)
    rows = given.read(arguments.file, arguments.separator) if arguments.file else []
    tuned = Predictor.load(folder, arguments.task, arguments.device)
    if arguments.field:
        rows = [_fields(arguments.field)]
    if arguments.text:
        if len(tuned.fields) > 1:
            fields = " ".join(f"--field {name}=..." for name in tuned.fields)
            raise UserError(f"--text: task '{tuned.task.name}' has several fields; give a row as {fields}.")
        rows = [{tuned.fields[0]: text} for text in arguments.text]
    names = [row.pop(given.ID, number) if given.ID not in tuned.task.fields else number
             for number, row in enumerate(rows, 1)]  # fmt: skip
    predictions = tuned.predict(rows, arguments.batch_size)
    if arguments.out:
        given.write(arguments.out, names, predictions)
        print(f"{arguments.out}: {len(predictions)} predictions of {folder}")
    else:
        for name, one in zip(names, predictions, strict=True):
            print(json.dumps(given.as_json(name, one), ensure_ascii=False))


def _fields(given: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        if not equals or name in found:
            raise UserError(f"--field: {shown(repr(one))} must be NAME=TEXT, and each name stands there once.")
        found[name] = text
    return found
