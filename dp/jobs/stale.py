"""Why an artifact would be made anew: other parameters, other code, other inputs."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from dp import files, paths
from dp.jobs.closure import code_digest, modules
from dp.jobs.finding import some
from dp.jobs.job import ADOPTED, SUMS, Job
from dp.jobs.pins import moved
from dp.jobs.project import is_of_project, project_digest

CODE = "code changed: "
LOOKED_UP = ("version", "definition")
"""What a record has in `asked` that no parameter decides: the download of a task looks it up in the task's file."""
Now = Callable[[str], str | None]
"""Digest of an input as it is: "" where it is gone, None where nobody can tell."""


def reasons(job: Job, record: dict[str, Any], adopted: str | None, now: Now) -> Iterator[str]:
    """None where a job's record is of what is asked, of this code, and of what lies here: the one answer for all.

    adopted: the digest of the code that its artifact was adopted by, if any (`dp.jobs.adoption`).
    """
    if parameter := first_difference(record["asked"], job.asked):
        yield parameter
    if by_code(job, record, adopted):
        yield CODE + some(changed_modules(record, job.command, job.family))
    if pin := moved(record):
        yield pin
    yield from other_inputs(job, record["used"]["inputs"], now)


def by_code(job: Job, record: dict[str, Any], adopted: str | None) -> bool:
    """Whether other code than this made an artifact, and none like it adopted it since."""
    return code_digest(job.command, job.family) not in (record["used"]["code"]["digest"], adopted)


def other_inputs(job: Job, read: Mapping[str, str], now: Now) -> Iterator[str]:
    """Inputs that are other than they were read, are new, or are read no more. `read`: name -> digest, by a record."""
    changed = [path for path, digest in read.items() if now(path) not in (digest, None)]
    if changed:
        yield "input changed: " + some([path for path in changed if not path.endswith(SUMS)] or changed)
    wanted = {*filter(now, job.project), *(folder.as_posix() for folder in job.upstream)}
    known = {_source(path) for path in read if is_of_project(path) or is_made(path)}
    evidence = (f"{one.folder}/{ADOPTED}" for one in job.reads if ADOPTED in one.names)
    adopted = [path for path in evidence if path not in read and now(path)]
    if new := sorted(wanted - known) + adopted:
        yield "input is new: " + some(new)
    if dropped := sorted(known - wanted - {_source(path) for path in changed}):
        yield "input is read no more: " + some(dropped)


def now_of(made: Mapping[str, str], doubtful: Collection[Path] = ()) -> Now:
    """What to compare with: the one answer for the audit, `sync`, `status` and the crate.

    `made`: path -> digest of the outputs and records that lie here, by their records. `doubtful`: folders of artifacts
    that have no good record, so that nobody can tell. Nor can the source of a download be told, which lies elsewhere.
    """
    of_project = cache(project_digest)

    def now(path: str) -> str | None:
        if path in made:
            return made[path]
        if path.endswith(f"/{ADOPTED}"):
            return files.sha256(Path(path)) if Path(path).is_file() else ""
        if is_made(path):
            return None if any(parent in doubtful for parent in Path(path).parents) else ""
        return of_project(path) if is_of_project(path) else None

    return now


def is_made(path: str) -> bool:
    return path.startswith(f"{paths.RESULTS}/")


def _source(path: str) -> str:
    """A file of the project, or the folder of the artifact that made an input."""
    return path if is_of_project(path) else path.rpartition("/")[0]


def first_difference(then: dict[str, Any], now: dict[str, Any]) -> str | None:
    """The first parameter that is other than it was, or is asked for no more, with both values."""
    for key, value in now.items():
        if key not in then:
            return f"{key} was not asked for, is {brief(value)}"
        old = then[key]
        if old != value:
            if isinstance(value, dict) and isinstance(old, dict) and value.keys() == old.keys():
                return f"{key}.{first_difference(old, value)}"
            return f"{key} was {brief(old)}, is {brief(value)}"
    dropped = next((key for key in then if key not in now and key not in LOOKED_UP), None)
    return f"{dropped} was {brief(then[dropped])}, is not asked for" if dropped else None


def changed_modules(record: dict[str, Any], command: str, family: str | None = None) -> list[str]:
    """Files of a job's code that are other, new or gone since a record was made, sorted."""
    then, now = record["used"]["code"]["modules"], modules(command, family)
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def brief(value: Any) -> str:
    """A value of JSON in at most 60 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
