"""The parts of a record that this version of the code reads without asking whether they are there."""

from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, ValidationError

from dp.closed import explain


def _is_time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


def _is_below(name: str) -> str:
    path = PurePosixPath(name)
    if not name.isprintable() or path.is_absolute() or ".." in path.parts or max(map(len, path.parts), default=0) > 200:
        raise ValueError("is no file of the folder")
    return name


Counts = dict[str, NonNegativeInt]
Setting = dict[str, Any] | None


class _Part(BaseModel):
    """Whatever else a job wrote stands beside."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Code(_Part):
    digest: str
    modules: dict[str, str]


class _Used(_Part):
    inputs: dict[str, str]
    code: _Code


class _With(_Part):
    python: str
    packages: dict[str, str | None]
    host: str | None = None
    device: str
    threads: int | None = None
    processor_count: int | None = None
    commit: str | None
    dirty: bool | None


class _Overflow(_Part):
    update: NonNegativeInt
    why: str


class _Made(_Part):
    outputs: dict[Annotated[str, AfterValidator(_is_below)], str]
    started: Annotated[str, AfterValidator(_is_time)]
    wall_seconds: Annotated[float, Field(ge=0, le=1e9)]
    labels: list[str] = []
    files: dict[str, str] = {}
    overflow: _Overflow | None = None


class _Tokenized(_Made):
    rows: Counts
    available: Counts
    truncated: Counts
    tokens: Counts = {}
    label_counts: dict[str, list[NonNegativeInt]] = {}


class _Selection(_Part):
    accuracy: float | None
    loss: float | None
    rows: int = 0
    rule: str = ""


class _Trained(_Made):
    steps: NonNegativeInt
    steps_before: NonNegativeInt
    selected_step: NonNegativeInt | None
    trainable_parameters: NonNegativeInt
    step_seconds: NonNegativeFloat
    start: NonNegativeInt | None = None
    starts: list[dict[str, Any]] = []
    other_starts: dict[str, Any] = {}
    stopped: str | None = None
    trials: int
    setting: Setting
    selection: _Selection | None = None
    classes: list[NonNegativeInt] = []
    label_counts: dict[str, dict[str, list[NonNegativeInt]]] = {}


class _Evaluated(_Made):
    labels: list[str]
    choices: dict[str, Any] = {}


class _Chosen(_Made):
    trials: int
    chosen: int
    setting: Setting


MADE: dict[str, type[_Made]] = {"tokenize": _Tokenized, "train": _Trained, "evaluate": _Evaluated, "choose": _Chosen}
"""Command -> what its record's `made` holds; of others, what every one does."""


class _Record(_Part):
    command: str
    asked: dict[str, Any]
    used: _Used
    with_: _With = Field(alias="with")
    made: dict[str, Any]


def check(record: Any) -> None:
    """Raises ValueError that names the key where a record is not what this version reads."""
    model: type[BaseModel] = _Record
    try:
        whole = _Record.model_validate(record)
        model = MADE.get(whole.command, _Made)
        model.model_validate(whole.made)
    except ValidationError as error:
        within = "" if model is _Record else "in made, "
        raise ValueError(f"is no record of this version: {within}{explain(error, model)}") from None
