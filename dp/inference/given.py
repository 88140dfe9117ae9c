"""Rows that somebody gives to be predicted, from a table or a list of JSON objects; and predictions as a table."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dp import files
from dp.errors import UserError, shown
from dp.inference.predictor import Predicted
from dp.sources import own_table
from dp.sources.read import NO_TEXT

ID = "id"
"""The one column that a row may have beside the fields of its task: predictions carry it on."""


def read(path: Path, separator: str | None = None) -> list[dict[str, Any]]:
    """The rows of a table. Raises UserError as `own_table.read`, and for an id that is no text and no whole number."""
    rows = own_table.read(path, separator).rows
    for row in rows:
        name = row.get(ID, "")
        if not isinstance(name, str | int) or (isinstance(name, str) and NO_TEXT.search(name)):
            raise UserError(f"--file: {path}: the id {shown(repr(name))} is neither a text nor a whole number.")
    return rows


def check_out(path: Path) -> None:
    """Before anything is computed. Raises UserError for a path of another kind than `write` knows."""
    if path.suffix not in (".csv", ".jsonl"):
        raise UserError(f"--out: {shown(str(path))} must end in .csv or .jsonl.")
    if below := next((parent for parent in path.parents if parent.exists() and not parent.is_dir()), None):
        raise UserError(f"--out: {shown(str(below))} is no folder. Name another.")


def write(path: Path, names: Sequence[Any], predictions: list[Predicted]) -> None:
    """Predictions as .csv or .jsonl, a row each."""
    if path.suffix == ".csv":
        files.write_text(path, as_csv(names, predictions))
    else:
        files.write_jsonl(path, map(as_json, names, predictions))


def as_json(name: Any, prediction: Predicted) -> dict[str, Any]:
    return {ID: name} | prediction._asdict()


def as_csv(names: Sequence[Any], predictions: list[Predicted]) -> str:
    """A column for the probability of each label, and one for each choice; a pool's weights stand in one."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    labels = list(predictions[0].probabilities) if predictions else []
    table.writerow([ID, "label", *(f"p({label})" for label in labels), "split", "length", "pool", "truncated"])
    for name, one in zip(names, predictions, strict=True):
        pool = "" if one.pool is None else " ".join(map(str, one.pool))
        table.writerow([name, one.label, *one.probabilities.values(), one.split, one.length, pool, one.truncated])
    return text.getvalue()
