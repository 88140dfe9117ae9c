"""A first task file and a first scale for somebody's own table, from what stands in it."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from dp import files, yaml12
from dp.backbones.names import ARCHITECTURES
from dp.errors import UserError, shown
from dp.sources import own_table
from dp.sources.formats import SEPARATORS
from dp.sources.resplit import held_out
from dp.tasks.model import LABEL, RESPLIT

MOST_CLASSES = 20
"""A column with more values is taken for no label."""
HELD_OUT = 0.25
"""Share of the one table's rows that are reported, where nobody says how many."""


class TableFile(NamedTuple):
    path: Path
    format: str
    separator: str | None
    columns: list[str]
    rows: list[dict[str, Any]]
    places: list[str]


class Columns(NamedTuple):
    texts: list[str]
    label: str


class Draft(NamedTuple):
    task: dict[str, Any]
    scale: dict[str, Any]
    texts: list[dict[str, str]]
    """The fields of every row."""


def read(path: Path, separator: str | None) -> TableFile:
    """A table with named columns. Raises UserError as `own_table.read`, and where a row lacks a column of the first."""
    kind, mark, rows, places = own_table.read(path, separator)
    for place, row in zip(places, rows, strict=True):
        if missing := rows[0].keys() - row.keys():
            raise UserError(f"{place}: has no {shown(', '.join(sorted(missing)))}, as the first row has.")
    named = mark if kind == "csv" and mark != SEPARATORS["csv"] else None
    return TableFile(path, kind, named, list(rows[0]), rows, places)


def columns_of(table: TableFile, texts: list[str], label: str | None) -> Columns:
    """Which columns are read. Raises UserError where one is not there, or nobody can tell."""
    for name in [*texts, *([label] if label else [])]:
        if name not in table.columns:
            raise UserError(f"{table.path}: has no column {shown(name)}; it has {shown(', '.join(table.columns))}.")
    values = {name: {str(row.get(name)) for row in table.rows} for name in table.columns}
    if label is None:
        few = [name for name in table.columns if 2 <= len(values[name]) <= MOST_CLASSES and name not in texts]
        chosen = [name for name in few if name.lower() == LABEL] or few
        if len(chosen) != 1:
            which = f"could be any of {', '.join(chosen)}" if chosen else f"is none of {', '.join(table.columns)}"
            raise UserError(f"{table.path}: the label {shown(which)}. Say which column holds it: --label COLUMN.")
        label = chosen[0]
    _check_labels(table, label)
    if not 2 <= len(values[label]) <= MOST_CLASSES:
        raise UserError(
            f"{table.path}: '{label}' has {len(values[label])} values, and a label has 2 to {MOST_CLASSES}."
        )
    if not texts:
        texts = [name for name in table.columns if name != label and _is_text(table, name)]
        if not texts:
            raise UserError(f"{table.path}: no column holds sentences. Say which ones are read: --text COLUMN.")
    return Columns(texts, label)


def _check_labels(table: TableFile, label: str) -> None:
    for place, row in zip(table.places, table.rows, strict=True):
        if not isinstance(row[label], str | int) or not str(row[label]).strip():
            said = f"'{label}' is {shown(repr(row[label]))}, and a label is a text or a whole number"
            raise UserError(f"{place}: {said}. Fill it in, or take the row out.")
    if len({type(row[label]) for row in table.rows}) > 1:
        raise UserError(f"{table.path}: '{label}' holds texts and numbers. Write all as texts, or all as numbers.")


def _is_text(table: TableFile, column: str) -> bool:
    """Whether most rows have more than one word there."""
    several = sum(len(str(row.get(column)).split()) > 1 for row in table.rows)
    return 2 * several > len(table.rows)


def draft(
    name: str, table: TableFile, columns: Columns, validation: TableFile | None, held: int | None, seed: int
) -> Draft:
    """The task `name`, and a scale of the same name over it.

    held: rows of the one table that are reported. Raises UserError where the tables differ, or are too small.
    """
    if validation and (missing := {*columns.texts, columns.label} - {*validation.columns}):
        raise UserError(f"{validation.path}: has no column {', '.join(sorted(missing))}, as {table.path} has.")
    if validation:
        _check_labels(validation, columns.label)
    if validation and (validation.format, validation.separator) != (table.format, table.separator):
        raise UserError(f"{validation.path} and {table.path} must have one format, and one separator.")
    if validation and validation.path.parent.resolve() != table.path.parent.resolve():
        raise UserError(f"{validation.path} and {table.path} must lie in one folder.")
    tables = {"train": table, "validation": validation} if validation else {"all": table}
    classes = _sorted({row[columns.label] for one in tables.values() if one for row in one.rows})
    labels = {key: [classes.index(row[columns.label]) for row in one.rows] for key, one in tables.items() if one}
    if not validation:
        held = max(len(classes), round(HELD_OUT * len(table.rows))) if held is None else held
        most = len(table.rows) - len(classes)
        if most < len(classes):
            raise UserError(f"{table.path}: {len(table.rows)} rows of {len(classes)} classes make no two splits.")
        if not len(classes) <= held <= most:
            raise UserError(
                f"--resplit: must be from {len(classes)} to {most}: either split needs a row of each of the "
                f"{len(classes)} classes, and the table has {len(table.rows)} rows."
            )
        ids = [f"all-{number}" for number in range(len(table.rows))]
        out = held_out(ids, labels["all"], held, seed)
        pairs = list(zip(ids, labels.pop("all"), strict=True))
        labels = {"train": [label for one, label in pairs if one not in out],
                  "validation": [label for one, label in pairs if one in out]}  # fmt: skip
    for split, found in labels.items():
        for number, label in enumerate(classes):
            if number not in found:
                remedy = "Report more or fewer rows (--resplit), or merge it with another class."
                raise UserError(f"{table.path}: no row of '{shown(str(label))}' would be in {split}. {remedy}")
    fields = _fields(columns.texts)
    texts = [{field: str(row[column]) for field, column in fields.items()} for row in table.rows]
    longest = max(fields, key=lambda field: sum(len(text[field]) for text in texts))
    source: dict[str, Any] = {"format": table.format}
    if table.separator:
        source["separator"] = table.separator
    renamed = {field: column for field, column in {**fields, LABEL: columns.label}.items() if field != column}
    if renamed:
        source["columns"] = renamed
    source["classes"] = classes
    source["files"] = {
        key: {"path": one.path.name, "sha256": files.sha256(one.path)} for key, one in tables.items() if one
    }
    if not validation:
        source["resplit"] = {"validation": held, "seed": seed}
    counts = {split: Counter(found) for split, found in labels.items()}
    task = {
        "name": name, "version": 1, "description": f"Drafted from {table.path.name}; say here what is asked.",
        "fields": list(fields), "truncate": longest, "label_names": [str(one) for one in classes],
        "templates": _templates(list(fields), _words(classes)), "metrics": ["accuracy"],
        **({} if validation else {"labels": [RESPLIT]}),
        "expected": {split: {"rows": len(found), "label_counts": [counts[split][n] for n in range(len(classes))]}
                     for split, found in labels.items()},
        "sources": {"folder": source},
    }  # fmt: skip
    return Draft(task, _scale(name, table), texts)


def _sorted(values: set[Any]) -> list[Any]:
    """Numbers by size, texts by the alphabet."""
    kinds = {type(value) for value in values}
    return sorted(values, key=str if len(kinds) > 1 or kinds <= {str} else None)


def _fields(columns: list[str]) -> dict[str, str]:
    """Field -> column: letters, digits and _, none of them twice."""
    found: dict[str, str] = {}
    for number, column in enumerate(columns, 1):
        field = re.sub(r"[^a-z0-9_]+", "_", column.lower()).strip("_")
        while not re.match(r"[a-z]", field) or field in (*found, LABEL):
            field, number = f"text{number}", number + 1
        found[field] = column
    return found


def _words(classes: list[Any]) -> list[str]:
    """Label words: no and yes for two classes, the classes' own names where they are words, else letters."""
    names = [str(one).lower() for one in classes]
    if len(classes) == 2 and not all(re.fullmatch(r"[a-z]{2,12}", name) for name in names):
        return ["no", "yes"]
    if all(re.fullmatch(r"[a-z]{2,12}", name) for name in names) and len(set(names)) == len(names):
        return names
    return [chr(ord("a") + number) for number in range(len(classes))]


def _templates(fields: list[str], words: list[str]) -> dict[str, Any]:
    spaced = [f" {word}" for word in words]
    lines = "\n".join(f"{{{field}}}" for field in fields)
    asked = {
        "seq2seq": ("".join(f" {field}: {{{field}}}" for field in fields), words),
        "causal": (f"{lines}\nQuestion: Is it {' or '.join(words)}?\nAnswer:", spaced),
        "encoder": (" ".join(f"{{{field}}}" for field in fields), spaced),
    }
    return {family: {"text": asked[family][0], "words": list(asked[family][1])} for family in ARCHITECTURES}


def _scale(name: str, table: TableFile) -> dict[str, Any]:
    return {
        "description": f"Prompts on {table.path.name} with MiniLM, for two CPU cores.",
        "backbones": ["minilm-l6"], "source": "folder", "tasks": {"folder": [name]}, "regimes": [{"kind": "full"}],
        "variants": ["majority", "linear-probe", "fixed", "fixed-2x", "adap_pos", "adap_ins_pos", "adap_ins_vec",
                     "p-tuning-v2"],
        "seeds": [0, 1, 2], "max_tokens": 128, "prompt": {"length": 10, "pool": 4},
        "baselines": {"p_tuning_v2": {"length": 10, "init_std": 0.1}},
        "training": {"steps": 80, "batch_size": 16, "micro_batch_size": 16, "evaluate_every": 20,
                     "checkpoint_every": 40, "optimizer": {"name": "adafactor", "lr": 0.02, "warmup_steps": 5}},
        "overrides": {
            "linear-probe": {"optimizer": {"name": "adamw", "lr": 0.01, "weight_decay": 0.01, "schedule": "linear"}},
            "p-tuning-v2": {"optimizer": {"name": "adamw", "lr": 0.005, "schedule": "linear"}},
        },
        "evaluation_batch_size": 16,
    }  # fmt: skip


def as_yaml(value: dict[str, Any], comment: str) -> str:
    """In the order given, with a comment in front."""
    return f"# {comment}\n" + yaml12.dump(value, sort_keys=False, width=110)
