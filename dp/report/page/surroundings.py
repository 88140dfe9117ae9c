"""What all jobs of a scale say of code, machine and packages, as small tables."""

from dataclasses import dataclass
from functools import partial
from math import fsum

from dp.jobs.made import Made
from dp.results.groups import grouped
from dp.results.jobs import by_jobs, said, version


@dataclass(frozen=True)
class FactTable:
    title: str
    head: list[str]
    rows: list[list[str]]


def tables(made: list[Made]) -> list[FactTable]:
    """Commits, machines, packages and time; each value with the number of jobs that say so."""
    machine = {"device": "device", "platform": "platform", "processors": "processor_count", "Python": "python"}
    packages = sorted({name for job in made for name in job.said("with", "packages") or {}})
    spent = [
        [command, f"{len(members):,}", f"{fsum(job.said('made', 'wall_seconds') or 0.0 for job in members):,.1f}"]
        for command, members in grouped(made, lambda job: job.command).items()
    ]
    return [
        FactTable("Code", ["commit", "jobs"], by_jobs(made, _commit)),
        FactTable("Machine", ["fact", "value", "jobs"],
              [[name, *line] for name, key in machine.items() for line in by_jobs(made, said("with", key))]),
        FactTable("Packages", ["package", "version", "jobs"],
              [[name, *line] for name in packages for line in by_jobs(made, partial(version, name))]),
        FactTable("Time", ["command", "jobs", "wall time, s"], spent),
    ]  # fmt: skip


def _commit(job: Made) -> str | None:
    head, dirty = job.said("with", "commit"), job.said("with", "dirty")
    return f"{head}{' with uncommitted changes' if dirty else ''}" if head else None
