"""Source files -> canonical rows {id, label, group, cluster, fields}, and the checks that they are the right ones."""

import gzip
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dp.data.resplit import held_out
from dp.errors import UserError
from dp.tasks.model import Reading, Task

Row = dict[str, Any]
Located = Iterator[tuple[str, Row]]
"""Each raw row behind the place it comes from, `file, line 3`."""


def canonical(task: Task, reading: Reading, paths: dict[str, Path]) -> dict[str, list[Row]]:
    """Split -> canonical rows of a task, from the files of a source, checked against what the task expects.

    `id` is unique and the same for every source. `group` holds the answers to one question together (MultiRC) and
    `cluster` the rows about one paragraph; elsewhere both are the id.
    """
    splits = {split: _read(task, reading, split, path) for split, path in paths.items()}
    if reading.resplit:
        whole = splits["all"]
        ids, labels = [row["id"] for row in whole], [row["label"] for row in whole]
        held = held_out(ids, labels, reading.resplit.validation, reading.resplit.seed)
        splits = {
            "train": [row for row in whole if row["id"] not in held],
            "validation": [row for row in whole if row["id"] in held],
        }
    check(task, splits, ", ".join(map(str, paths.values())))
    return splits


def check(task: Task, splits: dict[str, list[Row]], where: str) -> None:
    """Row and label counts must be those of the task's file, and ids unique; raises UserError."""
    for split, expected in task.expected.items():
        rows = splits[split]
        remedy = f"Use the complete official files, or correct expected.{split} of dp/tasks/{task.name}.yaml."
        if len(rows) != expected.rows:
            raise UserError(f"{where}: {split} has {len(rows)} rows, not {expected.rows}. {remedy}")
        counts = Counter(row["label"] for row in rows)
        found = [counts[label] for label in range(len(task.label_names))]
        if found != expected.label_counts:
            raise UserError(
                f"{where}: {split} has {found} rows of the classes {task.label_names}, not {expected.label_counts}. "
                f"{remedy}"
            )
    repeated = [name for name, n in Counter(row["id"] for rows in splits.values() for row in rows).items() if n > 1]
    if repeated:
        raise UserError(f"{where}: {len(repeated)} rows share an id, {repeated[0]} first. Use the official files.")


def _read(task: Task, reading: Reading, split: str, path: Path) -> list[Row]:
    rows = []
    for number, (where, raw) in enumerate(FORMATS[reading.format](path, reading)):
        fields = {field: _text(raw, reading.columns.get(field, field), where) for field in task.fields}
        label = _class(raw, reading.classes, where)
        rows.append({**_identity(split, number, raw, where), "label": label, "fields": fields})
    return [{key: row[key] for key in ("id", "label", "group", "cluster", "fields")} for row in rows]


def _identity(split: str, number: int, raw: Row, where: str) -> Row:
    """MultiRC rows are named by paragraph, question and answer, all others by their place in the split."""
    index = raw.get("idx")
    if not isinstance(index, dict):
        name = f"{split}-{number}"
        return {"id": name, "group": name, "cluster": name}
    parts = [index.get(key) for key in ("paragraph", "question", "answer")]
    if None in parts:
        raise UserError(f"{where}: idx must hold paragraph, question and answer. Use the official file.")
    cluster = f"{split}-{parts[0]}"
    return {"id": f"{cluster}-{parts[1]}-{parts[2]}", "group": f"{cluster}-{parts[1]}", "cluster": cluster}


def _text(raw: Row, column: str, where: str) -> str:
    value = _get(raw, column, where)
    if not isinstance(value, str):
        raise UserError(f"{where}: '{column}' must be text, not {value!r}. Use the official file.")
    return value


def _class(raw: Row, classes: list[bool | int | str], where: str) -> int:
    value = _get(raw, "label", where)
    for label, known in enumerate(classes):
        if value == known and type(value) is type(known):
            return label
    raise UserError(
        f"{where}: label {value!r} is unknown; the labels are {classes}. Use a labelled split, and the official file."
    )


def _get(raw: Any, key: str, where: str) -> Any:
    if not isinstance(raw, dict) or key not in raw:
        raise UserError(f"{where}: '{key}' is missing. Use the official file, or correct the task's columns.")
    return raw[key]


# One reader per format


def _jsonl(path: Path, reading: Reading) -> Located:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            try:
                yield where, json.loads(line)
            except ValueError as error:
                raise UserError(f"{where}: malformed JSON ({error}). Get the file again.") from None


def _multirc(path: Path, reading: Reading) -> Located:
    """The official file has one paragraph with its questions and their answers per line; a row is one answer."""
    for where, raw in _jsonl(path, reading):
        passage = _get(raw, "passage", where)
        for question in _get(passage, "questions", where):
            for answer in _get(question, "answers", where):
                index = {
                    "paragraph": _get(raw, "idx", where),
                    "question": _get(question, "idx", where),
                    "answer": _get(answer, "idx", where),
                }
                yield (
                    where,
                    {
                        "paragraph": _get(passage, "text", where),
                        "question": _get(question, "question", where),
                        "answer": _get(answer, "text", where),
                        "label": _get(answer, "label", where),
                        "idx": index,
                    },
                )


def _requests(path: Path, reading: Reading) -> Located:
    """Rendered evaluation requests: a line per answer of a row; the row is the last block of the query."""
    for where, raw in _jsonl(path, reading):
        if _get(raw, "idx", where) != 0:
            continue
        query = _get(_get(raw, "doc", where), "query", where)
        match = re.fullmatch(str(reading.pattern), query.rsplit("\n\n", 1)[-1])
        if match is None:
            raise UserError(f"{where}: the last block of the query does not match the task's pattern. Correct one.")
        yield where, {**match.groupdict(), "label": _get(raw, "label", where)}


def _parquet(path: Path, reading: Reading) -> Located:
    import datasets

    # Its own cache would outlive the file and hide a changed one.
    with tempfile.TemporaryDirectory() as cache:
        return _table(path, lambda: datasets.Dataset.from_parquet(str(path), cache_dir=cache, keep_in_memory=True))


def _arrow(path: Path, reading: Reading) -> Located:
    import datasets

    return _table(path, lambda: datasets.Dataset.from_file(str(path), in_memory=True))


def _table(path: Path, load: Callable[[], Any]) -> Located:
    import datasets
    import pyarrow

    datasets.disable_progress_bars()
    try:
        rows = load().to_list()
    except (pyarrow.ArrowException, datasets.exceptions.DatasetGenerationError, OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as a table ({error}). Get the file again.") from None
    return ((f"{path}, row {number}", raw) for number, raw in enumerate(rows))


FORMATS: dict[str, Callable[[Path, Reading], Located]] = {
    "jsonl": _jsonl,
    "multirc": _multirc,
    "requests": _requests,
    "parquet": _parquet,
    "arrow": _arrow,
}
