"""The records of a scale's jobs, and what many of them say of one thing, as text."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from dp.jobs import adoption, record
from dp.jobs.made import Made
from dp.results.groups import grouped
from dp.study import resolve
from dp.study.study import Study

UNKNOWN = "the records do not say"


def read(study: Study) -> list[Made]:
    """Every job before the report, upstream first, each record without the digests of what it read.

    Raises UserError where a record is missing or edited.
    """
    members = []
    for job in resolve.jobs(study).values():
        if job.command != "report":
            content = record.read(job.folder)
            digest, adopted = content["used"]["code"]["digest"], adoption.of(job.folder)
            content["used"] = {"inputs": {}, "code": {"digest": digest}}
            members.append(Made(job, content, "", adopted))
    return members


def said(*keys: str) -> Callable[[Made], Any]:
    return lambda job: job.said(*keys)


def surroundings(members: Sequence[Made], keys: dict[str, str]) -> list[list[str]]:
    """[name, value, number of jobs] of each value of some facts of where jobs ran. keys: name -> the record's key."""
    return [[name, *line] for name, key in keys.items() for line in by_jobs(members, said("with", key))]


def packages(members: Sequence[Made]) -> list[list[str]]:
    """[package, version, number of jobs] of every package that a record names."""
    names = sorted({name for job in members for name in job.said("with", "packages") or {}})
    return [[name, *line] for name in names for line in by_jobs(members, partial(_version, name))]


def _version(package: str, job: Made) -> str | None:
    installed = job.said("with", "packages") or {}
    return (installed[package] or "not installed") if package in installed else None


def by_jobs(members: Sequence[Made], fact: Callable[[Made], Any]) -> list[list[str]]:
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
