"""What a scale's results are predicted to be, written down before the runs (docs/predictions.md)."""

from collections.abc import Mapping, Set
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dp.closed import Closed, Name, nearest, read_yaml, validated
from dp.data.regime import Regime

Share = Annotated[float, Field(ge=0, le=1)]
Factor = Literal["split", "length", "pool"]
FACTORS: dict[str, Factor] = {"position": "split", "length": "length", "pool": "pool"}
"""What a variant chooses -> the key of predictions.jsonl that holds its choice."""
EvaluatedCell = tuple[str, str, str]
"""(regime, task, variant), the regime by its full name."""


class Prediction(Closed):
    """The range of the mean accuracy over seeds of some variants on some tasks of a regime."""

    regime: Name
    tasks: list[Name] = Field(min_length=1)
    variants: list[Name] = Field(min_length=1)
    accuracy: Annotated[tuple[Share, Share], Field(strict=False)]
    broken: bool = Field(False, description="variants broken on purpose: the range of the intact one, which must fail")
    because: str = Field(min_length=1)

    @model_validator(mode="after")
    def ordered(self) -> "Prediction":
        if self.accuracy[0] > self.accuracy[1]:
            raise ValueError(f"accuracy {list(self.accuracy)}: the low end is above the high end")
        return self


class NullTask(Closed):
    """A task on which every variant must do as well as the one named `against`, within a margin."""

    regime: Name
    task: Name
    against: Name
    margin: Annotated[float, Field(gt=0, lt=1)] = Field(0.02, description="a share, of the accuracy's difference")


class Planted(Closed):
    """A factor by which variants must tell the questions of one task apart, or the tasks of a multitask regime."""

    regime: Name
    task: Name | None = None
    tasks: list[Name] = Field([])
    factor: Factor
    variants: list[Name] = Field(min_length=1)

    @property
    def all_tasks(self) -> list[str]:
        return [self.task] if self.task else self.tasks

    @model_validator(mode="after")
    def tells_two_apart(self) -> "Planted":
        if bool(self.task) == bool(self.tasks):
            raise ValueError("say either task, whose questions are told apart, or tasks")
        if self.tasks and (len(set(self.tasks)) < 2 or not Regime.parse(self.regime).is_union):
            raise ValueError("tasks are told apart by one prompt: name at least two, in a multitask regime")
        return self


class Predictions(Closed):
    """A file of predictions."""

    predictions: list[Prediction] = Field(min_length=1)
    null_task: NullTask
    planted: list[Planted] = Field(min_length=1)

    @property
    def by_cell(self) -> dict[EvaluatedCell, Prediction]:
        return {(p.regime, task, variant): p for p in self.predictions for task in p.tasks for variant in p.variants}

    @property
    def tasks_with_questions(self) -> set[str]:
        """Those whose canonical rows say which question a row asks."""
        return {entry.task for entry in self.planted if entry.task}


def read(path: Path) -> Predictions:
    """Raises UserError naming file, key, value and what is allowed."""
    return validated(Predictions, read_yaml(path), path)


def check(predictions: Predictions, cells: Set[EvaluatedCell], learned: Mapping[str, Set[str]]) -> None:
    """Predictions must cover the evaluated cells of a grid exactly once, and name nothing else.

    `learned`: variant -> the factors (split, length, pool) that it learns. Raises ValueError naming key and value.
    """
    first: dict[EvaluatedCell, str] = {}
    for number, one in enumerate(predictions.predictions):
        key = f"predictions.{number}"
        for cell in ((one.regime, task, variant) for task in one.tasks for variant in one.variants):
            _check_known(key, cell, cells)
            if cell in first:
                raise ValueError(f"{key}: {'/'.join(cell)} is predicted by {first[cell]} already; keep one of them")
            first[cell] = key
    if left := sorted("/".join(cell) for cell in cells - first.keys()):
        shown = ", ".join(left[:10]) + (", ..." if len(left) > 10 else "")
        raise ValueError(f"predictions: {len(left)} evaluated cells have no prediction: {shown}; predict them too")
    null = predictions.null_task
    _check_known("null_task", (null.regime, null.task, null.against), cells)
    seen: dict[tuple[str, ...], str] = {}
    for number, entry in enumerate(predictions.planted):
        key = f"planted.{number}"
        for variant in entry.variants:
            for task in entry.all_tasks:
                _check_known(key, (entry.regime, task, variant), cells)
            if entry.factor not in learned[variant]:
                raise ValueError(f"{key}.variants: '{variant}' learns no {entry.factor}; take it out")
        what = (entry.regime, *sorted(entry.all_tasks), entry.factor)
        if what in seen:
            raise ValueError(f"{key}: is about {' '.join(what)}, as {seen[what]} is; join their variants")
        seen[what] = key


def _check_known(key: str, cell: EvaluatedCell, cells: Set[EvaluatedCell]) -> None:
    """Regime, then task in it, then variant on that: the first that is not evaluated is the one to mend."""
    for depth, part in enumerate(("regime", "task", "variant")):
        known = sorted({one[depth] for one in cells if one[:depth] == cell[:depth]})
        if cell[depth] not in known:
            where = f" in {'/'.join(cell[:depth])}" if depth else ""
            raise ValueError(f"{key}: {part} '{cell[depth]}' is not evaluated{where}{nearest(cell[depth], known)}")
