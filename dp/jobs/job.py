"""One job: a folder that a command makes, of what is asked and of what other jobs made (design section 2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from dp.data.regime import Regime

SUMS = "SHA256SUMS"
RECORD = "record.json"
ADOPTED = "adopted.json"
"""Beside the record of what other code made (`dp.jobs.adoption`); the one file that may be read or not be there."""

FILES: Mapping[str, tuple[str, ...]] = {
    "fetch-task": ("train.jsonl", "validation.jsonl"),
    "fetch-backbone": ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    "tokenize": ("tokens.safetensors", "rows.json"),
    "features": ("features.safetensors",),
    "train": ("tuned.safetensors", "config.json", "steps.jsonl"),
    "choose": ("choice.json",),
    "evaluate": ("predictions.jsonl", "metrics.json"),
}
"""What each command makes; a report makes what `dp.study.contents` says."""

Role = Literal["rows", "backbone", "tokens", "features", "tuned", "policy", "trial", "choice", "any"]


@dataclass(frozen=True)
class Cell:
    """One run, its regime as it is spelled. A trial of a search is a run whose training seed is the search's."""

    backbone: str
    regime: str
    task: str
    variant: str
    seed: int
    trial: int | None = None

    @property
    def parsed_regime(self) -> Regime:
        return Regime.parse(self.regime)

    @property
    def variant_path(self) -> str:
        """backbone/regime/task/variant, below results/<phase>/<scale>/."""
        return f"{self.backbone}/{self.regime}/{self.task}/{self.variant}"

    @property
    def run(self) -> str:
        """The path of the run below results/<phase>/<scale>/."""
        return f"{self.variant_path}/{f'seed{self.seed}' if self.trial is None else f'trial{self.trial}'}"


class Upstream(NamedTuple):
    """Files of another job's folder that a job reads, and as what.

    `of`: the task of tokens and features, the factor (position, length) of a policy that another run learned.
    """

    role: Role
    folder: Path
    names: tuple[str, ...]
    of: str = ""


@dataclass(frozen=True)
class Job:
    """`asked`: what the parameters decide. `outputs`: names of the files that it makes.

    `reads`: of other jobs. `project`: files of the project that it reads. `cell`: the run of a training or evaluation.
    `family`: of the one backbone that it is about.
    """

    folder: Path
    command: str
    asked: dict[str, Any]
    outputs: tuple[str, ...]
    reads: tuple[Upstream, ...] = ()
    project: tuple[str, ...] = ()
    cell: Cell | None = None
    family: str | None = None

    @property
    def paths(self) -> list[Path]:
        """Every file of the folder."""
        return [self.folder / name for name in (*self.outputs, SUMS, RECORD)]

    @property
    def upstream(self) -> tuple[Path, ...]:
        """Folders of the jobs that it reads."""
        return tuple(one.folder for one in self.reads)

    @property
    def phase(self) -> str:
        return self.folder.parts[1]

    def all(self, role: Role) -> dict[str, Path]:
        """Folder of each upstream job of a role, by what it is of."""
        return {one.of: one.folder for one in self.reads if one.role == role}

    def get(self, role: Role) -> Path | None:
        """Folder of the one upstream job of a role, or None."""
        return next((one.folder for one in self.reads if one.role == role), None)

    def the(self, role: Role) -> Path:
        """As `get`, where there must be one."""
        return next(one.folder for one in self.reads if one.role == role)


def outputs_of(command: str, *beside: str, without: str = "") -> tuple[str, ...]:
    """Names of what another job's command made, with its list of digests, as a job reads them: all but one, or more."""
    return (*(name for name in FILES[command] if name != without), SUMS, *beside)
