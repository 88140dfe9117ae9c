"""The labels of a number, in words, and which numbers of a table or figure carry them."""

from collections.abc import Mapping, Sequence
from typing import Any

WORDS = {
    "adopted": "made by other code than this, which made a sample of its kind again, the same (docs/adopt.md)",
    "dirty-tree": "made from code with uncommitted changes, so no commit reproduces it",
    "made-up": "the rows are made up by the project and stand for no task",
    "no-commit": "made outside version control, so no commit reproduces it",
    "overflow": "the gradient of the fillers (-1e20) overflowed, so a run ended in a status and not in a number",
    "planted-world": "the backbone and the rows are of a small made-up world: no evidence about any natural language",
    "random-weights": "the backbone's weights are random, so the number tests the pipeline, not a method",
    "re-split": "there was no official train split, and one split was cut into rows to train on and rows to report",
    "single-pretraining": "of one pre-training seed; another one of the same model may give another number",
    "single-seed": "one training run, whose interval covers the choice of examples but not of seeds",
    "subset": "only a part of the rows of some split was used",
    "unpinned": "the backbone or the rows are of a commit of the hub that no commit of the project names",
}
DIMENSIONS = ("backbone", "regime", "k", "task", "variant")


def spelled_out(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """`label: what it means (which numbers)` for every label of the rows; a label without words stands for itself."""
    found = sorted({label for row in rows for label in _labels(row)})
    return [f"{label}: {WORDS.get(label, 'see the task that sets it')} ({_where(rows, label)})" for label in found]


def together(rows: Sequence[Mapping[str, Any]]) -> str:
    """The labels of a number that is made of several."""
    return ";".join(sorted({label for row in rows for label in _labels(row)}))


def name_of(setting: tuple[Any, Any, Any]) -> str:
    """Backbone, regime and k, as `t5-base-lm, fewshot, 8 per label`."""
    backbone, regime, k = setting
    return f"{backbone}, {regime}" + (f", {k} per label" if k else "")


def _labels(row: Mapping[str, Any]) -> list[str]:
    return row["labels"].split(";") if row["labels"] else []


def _where(rows: Sequence[Mapping[str, Any]], label: str) -> str:
    marked = [row for row in rows if label in _labels(row)]
    values = {key: list(dict.fromkeys(row[key] for row in marked)) for key in DIMENSIONS}
    covered = [row for row in rows if all(row[key] in values[key] for key in DIMENSIONS)]
    narrowed = [
        f"{key} {', '.join(map(str, values[key]))}"
        for key in DIMENSIONS
        if len(values[key]) < len({row[key] for row in rows})
    ]
    which = "all numbers" if len(covered) == len(marked) else "some numbers"
    return f"{which} of {'; '.join(narrowed)}" if narrowed else which
