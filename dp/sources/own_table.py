"""Somebody's own table, by what its file's name ends in: .csv, .tsv or .jsonl."""

from pathlib import Path
from typing import Any, NamedTuple

from dp.errors import UserError, shown
from dp.sources.formats import SEPARATORS, json_lines, separated, separator_of


class OwnTable(NamedTuple):
    format: str
    separator: str  # empty for .jsonl
    rows: list[dict[str, Any]]
    places: list[str]
    """Of each row, in words: file and line."""


def read(path: Path, separator: str | None = None) -> OwnTable:
    """separator: what stands between two columns; None: a comma, or a semicolon where a .csv's header has no comma.

    Raises UserError for a file of another kind, or one that cannot be read, has no rows, or a row that is no mapping.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind not in (*SEPARATORS, "jsonl"):
        raise UserError(f"{shown(str(path))} ends in none of .csv, .tsv and .jsonl, so its format is unknown.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{shown(str(path))} cannot be read ({error.strerror}).") from None
    if kind == "csv" and separator is None and b";" in (header := content.split(b"\n")[0]) and b"," not in header:
        separator = ";"
    mark = separator_of(kind, separator)
    located = list(json_lines(content, path) if kind == "jsonl" else separated(content, path, mark))
    places, rows = [place for place, _ in located], [row for _, row in located]
    for place, row in located:
        if not isinstance(row, dict):
            raise UserError(f"{place}: {shown(repr(row))} is no row: a line is one JSON object.")
    if not rows:
        raise UserError(f"{path}: holds no rows.")
    return OwnTable(kind, mark, rows, places)
