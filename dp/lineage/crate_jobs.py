"""The jobs whose results a crate holds, refused where they are not all there and current."""

from dp import paths
from dp.errors import ECHO, UserError, shown
from dp.jobs import made
from dp.jobs.inputs import verified
from dp.jobs.made import Made
from dp.jobs.project import is_of_project
from dp.jobs.stale import now_of
from dp.study.resolve import jobs
from dp.study.study import Study

SHOWN = 3
"""Problems that a refusal repeats."""


def read(study: Study) -> list[Made]:
    """Every job of a scale, upstream first, the report last.

    Raises UserError where one is missing, edited, or made from other parameters, code or inputs than those at hand.
    """
    members: list[Made] = []
    digests: dict[str, str] = {}
    now = now_of(digests)
    problems: list[str] = []
    for job in jobs(study).values():
        try:
            verified(job.folder)
            member = made.read(job)
        except UserError as error:
            problems.append(str(error))
            continue
        assert member is not None  # `verified` read it
        problems += [f"{job.folder}: {reason}." for reason in member.reasons(now)]
        members.append(member)
        digests |= member.outputs
    if problems:
        first = " | ".join(shown(one, 2 * ECHO) for one in problems[:SHOWN])
        more = " | ..." if len(problems) > SHOWN else ""
        raise UserError(
            f"scale '{study.scale_name}' is not complete and current ({len(problems)} artifacts are not), and a crate "
            f"claims that it is: {first}{more} `python -m dp status` and `python -m dp audit` say more; "
            "`snakemake --cores all` makes what is missing."
        )
    return members


def kind(path: str) -> str | None:
    """Whether an input was `made` by another job or is a file of this `project`; None: it came from elsewhere."""
    if path.startswith(f"{paths.RESULTS}/"):
        return "made"
    return "project" if is_of_project(path) else None
