"""Source files -> canonical rows {id, label, group, cluster, fields}, and the checks that they are the right ones."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from dp.errors import UserError, shown
from dp.sources.formats import FORMATS, get
from dp.sources.resplit import held_out
from dp.tasks.model import LABEL, Reading, Task

Row = dict[str, Any]
NO_TEXT = re.compile("[\\x00\\ud800-\\udfff]")
"""NUL, and a half of a surrogate pair: JSON can say them, a tokenizer or a file can not."""


class File(NamedTuple):
    """A source file as it was verified: its bytes are what is parsed, its path is for messages."""

    path: Path
    content: bytes


def canonical(task: Task, reading: Reading, files: dict[str, File]) -> dict[str, list[Row]]:
    """Split -> canonical rows of a task, from the files of a source, checked against what the task expects.

    `id` is unique and the same for every source. `group` holds the answers to one question together (MultiRC) and
    `cluster` the rows about one paragraph; elsewhere both are the id.
    """
    splits = {split: _read(task, reading, split, file) for split, file in files.items()}
    if reading.resplit:
        whole = splits["all"]
        ids, labels = [row["id"] for row in whole], [row["label"] for row in whole]
        held = held_out(ids, labels, reading.resplit.validation, reading.resplit.seed)
        splits = {
            "train": [row for row in whole if row["id"] not in held],
            "validation": [row for row in whole if row["id"] in held],
        }
    check(task, splits, ", ".join(str(file.path) for file in files.values()))
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


def _read(task: Task, reading: Reading, split: str, file: File) -> list[Row]:
    rows, names = [], {name: reading.columns.get(name, name) for name in (*task.fields, LABEL)}
    for number, (where, raw) in enumerate(FORMATS[reading.format](file.content, file.path, reading)):
        if reading.is_text and (empty := [names[name] for name in names if raw.get(names[name]) == ""]):
            raise UserError(f"{where}: nothing stands in {empty}, which is needed. Fill it in, or take the row out.")
        fields = {field: _text(_column(task, raw, field, names[field], where), names[field], where)
                  for field in task.fields}  # fmt: skip
        if not any(text.strip() for text in fields.values()):
            raise UserError(f"{where}: nothing stands in {task.fields}, so there is nothing to classify. Leave it out.")
        label = _class(_column(task, raw, LABEL, names[LABEL], where), reading, where)
        rows.append({**_identity(split, number, raw, where), "label": label, "fields": fields})
    return [{key: row[key] for key in ("id", "label", "group", "cluster", "fields")} for row in rows]


def _column(task: Task, raw: Any, name: str, column: str, where: str) -> Any:
    said = f"{{{name}: <its name here>}}"
    remedy = f"If it has another name there, say so: `columns: {said}` of this source in dp/tasks/{task.name}.yaml."
    return get(raw, column, where, remedy)


def _identity(split: str, number: int, raw: Row, where: str) -> Row:
    """MultiRC rows are named by paragraph, question and answer, all others by their place in the split."""
    index = raw.get("idx")
    if not isinstance(index, dict):
        name = f"{split}-{number}"
        return {"id": name, "group": name, "cluster": name}
    parts = [index.get(key) for key in ("paragraph", "question", "answer")]
    if any(type(part) is not int for part in parts):
        raise UserError(f"{where}: idx must hold the numbers of paragraph, question and answer. Use the official file.")
    cluster = f"{split}-{parts[0]}"
    return {"id": f"{cluster}-{parts[1]}-{parts[2]}", "group": f"{cluster}-{parts[1]}", "cluster": cluster}


def _text(value: Any, column: str, where: str) -> str:
    """A text that every tokenizer and file can hold: no NUL, and no half of a surrogate pair."""
    if not isinstance(value, str):
        raise UserError(f"{where}: '{column}' must be text, not {shown(repr(value))}. Use the official file.")
    if found := NO_TEXT.search(value):
        raise UserError(
            f"{where}: '{column}' holds U+{ord(found[0]):04X} at character {found.start() + 1}, which is no text. Take "
            "it out, or get the file again."
        )
    return value


def _class(value: Any, reading: Reading, where: str) -> int:
    for label, known in enumerate(reading.classes):
        written = str(known) if reading.is_text else known
        if value == written and type(value) is type(written):
            return label
    raise UserError(
        f"{where}: label {shown(repr(value))} is unknown; the labels are {reading.classes}. Use a labelled split, and "
        "the official file."
    )
