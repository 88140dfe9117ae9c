"""Somebody's own table, by what its file's name ends in: .csv, .tsv or .jsonl."""

from pathlib import Path
from typing import Any, NamedTuple

from dp.errors import UserError, shown
from dp.sources.formats import SEPARATORS, json_lines, separated, separator_of


class OwnTable(NamedTuple):
    format: str
    separator: str  # empty for .jsonl
    rows: list[dict[str, Any]]


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
    rows = [row for _, row in (json_lines(content, path) if kind == "jsonl" else separated(content, path, mark))]
    for row in rows:
        if not isinstance(row, dict):
            raise UserError(f"{path}: {shown(repr(row))} is no row: a line is one JSON object.")
    if not rows:
        raise UserError(f"{path}: holds no rows.")
    return OwnTable(kind, mark, rows)
