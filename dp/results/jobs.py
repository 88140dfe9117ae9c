"""The records of a scale's jobs, and what many of them say of one thing, as text."""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from dp.escapes import markdown
from dp.jobs import record
from dp.jobs.artifacts import artifacts
from dp.study.grid import Cell
from dp.study.study import Study

T = TypeVar("T")
K = TypeVar("K")
UNKNOWN = "the records do not say"


class Job(NamedTuple):
    """One artifact, and of its record all but the digests of what it read."""

    folder: str
    command: str
    cell: Cell | None
    record: dict[str, Any]

    def said(self, *keys: str) -> Any:
        """A fact of the record; None where it holds none."""
        found: Any = self.record
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        return found


def read(study: Study) -> list[Job]:
    """Every job before the report, upstream first. Raises UserError where a record is missing or edited."""
    found = []
    for folder, artifact in artifacts(study).items():
        if artifact.command != "report":
            content = record.read(folder)
            content["used"] = {"code": content["used"]["code"]["digest"]}
            found.append(Job(folder.as_posix(), artifact.command, artifact.cell, content))
    return found


def said(*keys: str) -> Callable[[Job], Any]:
    return lambda job: job.said(*keys)


def version(package: str, job: Job) -> str | None:
    """Of a package, as a job's record has it; None where it says nothing of it."""
    installed = job.said("with", "packages") or {}
    return (installed[package] or "not installed") if package in installed else None


def grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by key, in the order in which keys occur."""
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def by_jobs(members: Sequence[Job], fact: Callable[[Job], Any]) -> list[list[str]]:
    """[value, number of jobs] of each value of a fact, the most frequent first; of which commands, where not of all."""
    by_value = grouped(members, lambda job: as_text(fact(job)))
    lines = []
    for value, found in sorted(by_value.items(), key=lambda one: (-len(one[1]), one[0])):
        commands = sorted({job.command for job in found})
        partial = len(by_value) > 1 and len({job.command for job in members}) > 1
        lines.append([value, f"{len(found):,} of {len(members):,}" + (f": {', '.join(commands)}" if partial else "")])
    return lines


def as_number(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def as_text(value: Any) -> str:
    if value is None:
        return UNKNOWN
    if isinstance(value, dict) and not value:
        return "as asked"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *[[markdown(cell) for cell in row] for row in rows]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
