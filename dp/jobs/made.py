"""What a finished job left: its record, and what that says."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from dp import files
from dp.jobs import adoption, record, stale
from dp.jobs.adoption import Adoption
from dp.jobs.job import ADOPTED, RECORD, Cell, Job


@dataclass(frozen=True)
class Made:
    """`digest`: sha256 of record.json."""

    job: Job
    record: dict[str, Any]
    digest: str
    adoption: Adoption | None = None

    @property
    def folder(self) -> Path:
        return self.job.folder

    @property
    def command(self) -> str:
        return self.job.command

    @property
    def cell(self) -> Cell | None:
        return self.job.cell

    @property
    def code(self) -> str:
        """Digest of the code that its artifact counts as made by."""
        return self.adoption.now if self.adoption else str(self.said("used", "code", "digest"))

    @property
    def inputs(self) -> dict[str, str]:
        found: dict[str, str] = self.record["used"]["inputs"]
        return found

    @property
    def outputs(self) -> dict[str, str]:
        """Path -> sha256 of all that lies in its folder, the record and an adoption among it."""
        made = {f"{self.folder}/{name}": digest for name, digest in self.record["made"]["outputs"].items()}
        adopted = self.folder / ADOPTED
        evidence = {str(adopted): files.sha256(adopted)} if self.adoption else {}
        return made | {f"{self.folder}/{RECORD}": self.digest} | evidence

    @property
    def started(self) -> str:
        return str(self.record["made"]["started"])

    @property
    def sharing(self) -> int:
        """Trainings that its job made; each has an equal share of the job's seconds in its record."""
        return len(self.said("asked", "together") or ["alone"])

    @property
    def ended(self) -> str:
        seconds = self.sharing * self.record["made"]["wall_seconds"]
        end = datetime.fromisoformat(self.started) + timedelta(seconds=seconds)
        return end.isoformat(timespec="milliseconds")

    def said(self, *keys: str) -> Any:
        """A fact of the record; None where it holds none."""
        found: Any = self.record
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found

    def reasons(self, now: stale.Now) -> Iterator[str]:
        """Why it would be made anew (`dp.jobs.stale`)."""
        return stale.reasons(self.job, self.record, self.adoption.now if self.adoption else None, now)


def read(job: Job, edited: bool = False) -> Made | None:
    """What a job left; None where it has no record.

    Raises ValueError, in words, where that is none or, unless `edited`, not to the letter what the job wrote.
    """
    try:
        data = (job.folder / RECORD).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    digest = hashlib.sha256(data).hexdigest()
    return Made(job, record.parsed(data, edited), digest, adoption.of(job.folder, digest))
