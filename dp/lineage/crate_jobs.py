"""The jobs whose results a crate holds, refused where they are not all there and current."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dp import paths
from dp.errors import ECHO, UserError, shown
from dp.jobs import record
from dp.jobs.artifacts import Artifact, artifacts
from dp.jobs.closure import code_digest
from dp.jobs.project import is_of_project
from dp.jobs.stale import now_of, reasons
from dp.study.study import Study

SHOWN = 3
"""Problems that a refusal repeats."""


@dataclass(frozen=True)
class Job:
    """An artifact with its record and path -> sha256 of its outputs, the record among them."""

    artifact: Artifact
    record: dict[str, Any]
    outputs: dict[str, str]

    @property
    def command(self) -> str:
        return self.artifact.command

    @property
    def inputs(self) -> dict[str, str]:
        found: dict[str, str] = self.record["used"]["inputs"]
        return found

    @property
    def started(self) -> str:
        return str(self.record["made"]["started"])

    @property
    def ended(self) -> str:
        end = datetime.fromisoformat(self.started) + timedelta(seconds=self.record["made"]["wall_seconds"])
        return end.isoformat(timespec="milliseconds")


def read(study: Study) -> list[Job]:
    """Every job of a scale, upstream first, the report last.

    Raises UserError where one is missing, edited, or made from other parameters, code or inputs than those at hand.
    """
    found: list[Job] = []
    made: dict[str, str] = {}
    now = now_of(made)
    problems: list[str] = []
    for one in artifacts(study).values():
        try:
            outputs = record.outputs_of(one.folder) | record.record_of(one.folder)
        except UserError as error:
            problems.append(str(error))
            continue
        job = Job(one, record.read(one.folder), outputs)
        why = reasons(one, job.record, code_digest(one.command), now)
        problems += [f"{one.folder}: {reason}." for reason in why]
        found.append(job)
        made |= outputs
    if problems:
        first = " | ".join(shown(one, 2 * ECHO) for one in problems[:SHOWN])
        more = " | ..." if len(problems) > SHOWN else ""
        raise UserError(
            f"scale '{study.scale_name}' is not complete and current ({len(problems)} artifacts are not), and a crate "
            f"claims that it is: {first}{more} `python -m dp status` and `python -m dp audit` say more; "
            "`snakemake --cores all` makes what is missing."
        )
    return found


def kind(path: str) -> str | None:
    """Whether an input was `made` by another job or is a file of this `project`; None: it came from elsewhere."""
    if path.startswith(f"{paths.RESULTS}/"):
        return "made"
    return "project" if is_of_project(path) else None
