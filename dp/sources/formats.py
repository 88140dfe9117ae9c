"""Source files -> raw rows: one reader per format, over the bytes that were verified and never over a path.

A library that is handed a path may take it for a pattern, or find other bytes there than those that were hashed.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dp.errors import MESSAGE, UserError, shown
from dp.files import unique_keys
from dp.tasks.model import LABEL, Reading
from dp.tasks.templates import parse

Located = Iterator[tuple[str, dict[str, Any]]]
"""Each raw row behind the place it comes from, `file, line 3`."""

AGAIN = "Get the file again."
BOM = "\ufeff"
SEPARATORS = {"csv": ",", "tsv": "\t"}


def get(raw: Any, key: str, where: str, remedy: str = "Use the official file.") -> Any:
    """What a row has under a name. Raises UserError, which says what it has, where that is not there."""
    if not isinstance(raw, dict):
        raise UserError(f"{where}: holds {shown(repr(raw))} where '{key}' should be. {remedy}")
    if key not in raw:
        raise UserError(f"{where}: '{key}' is missing; there is {shown(repr(list(raw)))}. {remedy}")
    return raw[key]


def _items(raw: Any, key: str, where: str) -> list[Any]:
    value = get(raw, key, where)
    if not isinstance(value, list):
        raise UserError(f"{where}: '{key}' must be a list, not {shown(repr(value))}. Use the official file.")
    return value


def _jsonl(content: bytes, path: Path, reading: Reading) -> Located:
    return json_lines(content, path)


def json_lines(content: bytes, path: Path) -> Located:
    """One JSON value a line."""
    for number, line in enumerate(_lines(content, path), 1):
        where = f"{path}, line {number}"
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UserError(
                f"{where}: is not UTF-8 ({error.reason}, byte {error.start}). Save the file as UTF-8."
            ) from None
        if text.startswith(BOM):
            raise UserError(f"{where}: begins with a byte order mark. Save the file as UTF-8 without one.")
        try:
            yield where, json.loads(text, object_pairs_hook=unique_keys)
        except RecursionError:
            raise UserError(f"{where}: is nested too deeply. {AGAIN}") from None
        except ValueError as error:
            raise UserError(f"{where}: malformed JSON ({error}). {AGAIN}") from None


def separator_of(kind: str, given: str | None) -> str:
    """What stands between two columns of a .csv, .tsv or .jsonl file. `given`: by a person, who may type \\t.

    Raises UserError for what can stand between no columns, and for a kind of file that has its own.
    """
    if given is None:
        return SEPARATORS.get(kind, "")
    mark = "\t" if given == "\\t" else given
    if kind != "csv":
        raise UserError(f"--separator: a .{kind} file has its own; leave it out.")
    if len(mark) != 1 or mark in '"\r\n':
        raise UserError(f"--separator: {shown(repr(given))} must be one character, and no quote or end of a line.")
    return mark


def _csv(content: bytes, path: Path, reading: Reading) -> Located:
    return separated(content, path, reading.separator or SEPARATORS["csv"])


def _tsv(content: bytes, path: Path, reading: Reading) -> Located:
    return separated(content, path, SEPARATORS["tsv"])


def separated(content: bytes, path: Path, separator: str) -> Located:
    """The rows behind a header, as spreadsheets write them: quotes around a field that holds the separator, the end of
    a line or a doubled quote. Blank lines are no rows, and every other one has as many fields as the header."""
    try:
        text = b"".join(_lines(content, path)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 ({error.reason}, byte {error.start}). Save it as UTF-8.") from None
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] = []
    try:
        for row in filter(None, reader):
            where = f"{path}, line {reader.line_num}"
            if not header:
                header = row
                if len(set(header)) < len(header) or "" in header:
                    raise UserError(f"{where}: {shown(repr(header))} must be a name for each column. Name them apart.")
            elif len(row) != len(header):
                raise UserError(
                    f"{where}: ends a row of {len(row)} fields under a header of {len(header)}, {shown(repr(header))}. "
                    f"Put quotes around a field that holds {separator!a}, or say which `separator` the file has."
                )
            else:
                yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}. Save the table again.") from None


def _lines(content: bytes, path: Path) -> Iterator[bytes]:
    if path.suffix != ".gz":
        yield from io.BytesIO(content)
        return
    try:
        with gzip.open(io.BytesIO(content)) as file:
            yield from file
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: is damaged, or is no gzip file ({error}). {AGAIN}") from None


def _multirc(content: bytes, path: Path, reading: Reading) -> Located:
    """The official file has one paragraph with its questions and their answers per line; a row is one answer."""
    for where, raw in _jsonl(content, path, reading):
        passage = get(raw, "passage", where)
        for question in _items(passage, "questions", where):
            for answer in _items(question, "answers", where):
                parts = {"paragraph": raw, "question": question, "answer": answer}
                row = {
                    "idx": {name: get(part, "idx", where) for name, part in parts.items()},
                    "paragraph": get(passage, "text", where),
                    "question": get(question, "question", where),
                    "answer": get(answer, "text", where),
                    LABEL: get(answer, LABEL, where),
                }
                yield where, row


def _requests(content: bytes, path: Path, reading: Reading) -> Located:
    """Rendered evaluation requests: a line per answer of a row; the row is the last block of the query."""
    for where, raw in _jsonl(content, path, reading):
        if get(raw, "idx", where) != 0:
            continue
        query = get(get(raw, "doc", where), "query", where)
        if not isinstance(query, str):
            raise UserError(f"{where}: 'query' must be text, not {shown(repr(query))}. Use the official file.")
        fields = parse(str(reading.pattern), query.rsplit("\n\n", 1)[-1])
        if fields is None:
            raise UserError(
                f"{where}: the last block of the query is not of the form of the task's pattern, "
                f"{shown(repr(reading.pattern))}, or is so in more than one way. Correct one."
            )
        yield where, {**fields, LABEL: get(raw, LABEL, where)}


def _parquet(content: bytes, path: Path, reading: Reading) -> Located:
    import pyarrow.parquet

    return _table(path, lambda: pyarrow.parquet.read_table(pyarrow.BufferReader(content)))


def _arrow(content: bytes, path: Path, reading: Reading) -> Located:
    import pyarrow.ipc

    return _table(path, lambda: pyarrow.ipc.open_stream(content).read_all())


def _table(path: Path, load: Callable[[], Any]) -> Located:
    import datasets
    import pyarrow

    try:
        table = load()
        table.validate(full=True)
        if len(set(table.column_names)) < table.num_columns:
            raise UserError(f"{path}: has two columns of one name: {shown(repr(table.column_names))}. Rename one.")
        rows = iter(datasets.Dataset(table))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a table ({shown(str(error), MESSAGE)}). {AGAIN}") from None
    for number in range(table.num_rows):
        where = f"{path}, row {number}"
        try:
            yield where, next(rows)
        except (ValueError, OverflowError) as error:
            raise UserError(f"{where}: cannot be read ({shown(str(error), MESSAGE)}). {AGAIN}") from None


FORMATS: dict[str, Callable[[bytes, Path, Reading], Located]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "tsv": _tsv,
    "multirc": _multirc,
    "requests": _requests,
    "parquet": _parquet,
    "arrow": _arrow,
}
