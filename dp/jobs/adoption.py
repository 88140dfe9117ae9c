"""`adopted.json` beside a record: that other code than made an artifact makes the same (docs/adopt.md).

It stands beside the record and not in it: jobs downstream and results.csv name a record by its digest, which stays.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dp import files
from dp.jobs.closure import code_digest
from dp.jobs.job import ADOPTED, RECORD, Job
from dp.jobs.record import is_sealed, sealed


class _Sealed(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Retrial(_Sealed):
    """Which of a kind's artifacts (so many in all) were made again, drawn by a seed, and how they were compared."""

    kind: str
    made_again: list[str]
    of: int
    how: str
    seed: int


class Adoption(_Sealed):
    """`record`: sha256 of the record that it is about. `was`, `now`: digests of code.

    commit, dirty: of the code that adopted.
    """

    record: str
    was: str
    now: str
    commit: str | None
    dirty: bool | None
    day: str
    evidence: Retrial

    def __str__(self) -> str:
        again, of = len(self.evidence.made_again), self.evidence.of
        now = self.now[:12] + ("" if self.dirty is False else ", which no commit holds")
        codes = f"made by other code ({self.was[:12]}), adopted on {self.day} by {now}"
        return f"{codes}: {again} of {of} of its kind were made again, the same in {self.evidence.how}"


def write(folder: Path, adoption: Adoption) -> None:
    files.write_json(folder / ADOPTED, sealed(adoption.model_dump()))


def parsed(data: bytes) -> Adoption:
    """Raises ValueError, in words, where the bytes are not what `write` wrote."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    if not is_sealed(content):
        raise ValueError("was edited after it was written")
    try:
        return Adoption.model_validate({key: value for key, value in content.items() if key != "seal"})
    except ValidationError:
        raise ValueError("is no adoption of this version") from None


def of(folder: Path, record: str | None = None) -> Adoption | None:
    """The adoption of an artifact; None where there is none, it is none that holds, or it is about another record.

    record: digest of record.json, where it is known already.
    """
    try:
        adoption = parsed((folder / ADOPTED).read_bytes())
        return adoption if adoption.record == (record or files.sha256(folder / RECORD)) else None
    except (OSError, ValueError):
        return None


def resting(jobs: Iterable[Job], is_marked: Callable[[Job], Any] = lambda job: of(job.folder)) -> set[Path]:
    """Folders of jobs, upstream first, that were adopted (or are marked otherwise) or rest on one that was."""
    folders: set[Path] = set()
    for job in jobs:
        if not folders.isdisjoint(job.upstream) or is_marked(job):
            folders.add(job.folder)
    return folders


def noted(job: Job) -> str:
    """Digest of this code, or, where this code adopted the artifact, of what made it: Snakemake took note of that."""
    adoption, code = of(job.folder), code_digest(job.command, job.family)
    return adoption.was if adoption and adoption.now == code else code
