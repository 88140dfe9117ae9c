"""What evaluations and trainings wrote, as the report reads it: refused by file and key where it is of no job.

A record vouches for bytes. That another version of the code wrote others in its place, it can not know.
"""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, ValidationError, model_validator

from dp.closed import explain
from dp.errors import UserError, shown
from dp.jobs.record import RESTORE

Share = Annotated[float, Field(ge=0, le=1)]


class _Written(BaseModel):
    """Whatever else a job wrote stands beside."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Metric(_Written):
    value: Share
    low: Share
    high: Share
    interval: str


class _Metrics(_Written):
    split: str
    n: PositiveInt
    majority: Share
    majority_class: NonNegativeInt
    collapsed: bool | None
    collapsed_because: str | None
    overflow: str | None = None
    metrics: dict[str, _Metric | None]

    @model_validator(mode="after")
    def has_numbers(self) -> "_Metrics":
        if "accuracy" not in self.metrics:
            raise ValueError(f"metrics: holds no accuracy, only {sorted(self.metrics)}")
        if self.overflow is None and (None in self.metrics.values() or self.collapsed is None):
            raise ValueError("metrics: holds no number, and the run did not overflow")
        return self


class _Prediction(_Written):
    id: str
    group: str
    cluster: str
    gold: NonNegativeInt
    prediction: NonNegativeInt
    tokens: NonNegativeInt
    split: NonNegativeInt | None
    length: NonNegativeInt | None
    pool: list[Share] | None


class _SelectionScore(_Written):
    accuracy: Share
    by_task: list[Share] = []


class Evaluation(_Written):
    """A line of `steps.jsonl` about an evaluation on the way."""

    step: PositiveInt
    selection: _SelectionScore


class Update(_Written):
    """A line of `steps.jsonl` about an update."""

    step: PositiveInt
    loss: float


def metrics(folder: Path) -> dict[str, Any]:
    """`metrics.json` of an evaluation."""
    path = folder / "metrics.json"
    return parsed(path.read_bytes(), _Metrics, str(path))


def predictions(folder: Path, rows: int) -> list[dict[str, Any]]:
    """`predictions.jsonl` of an evaluation of so many rows."""
    path = folder / "predictions.jsonl"
    with path.open("rb") as lines:
        found = [parsed(line, _Prediction, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
    if len(found) != rows:
        raise UserError(f"{path}: holds {len(found):,} lines, and its metrics.json is of {rows:,} rows. {RESTORE}")
    return found


def parsed(text: bytes, model: type[_Written], where: str) -> dict[str, Any]:
    """What a JSON text says. Raises UserError where that is not of the model."""
    try:
        found: dict[str, Any] = json.loads(text)
        model.model_validate(found)
    except ValidationError as error:
        raise UserError(f"{where}: is not of this version: {explain(error, model)}. {RESTORE}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: is no JSON ({shown(str(error))}). {RESTORE}") from None
    return found
