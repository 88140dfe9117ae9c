"""What a job reads: checked and named for its record; as files for the order of jobs; and as one digest."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from dp import files
from dp.errors import UserError
from dp.jobs import record
from dp.jobs.job import ADOPTED, RECORD, SUMS, Job
from dp.jobs.project import project_digest


def inputs_of(job: Job) -> dict[str, str]:
    """Path -> sha256 of every file of the project and of other jobs that a job reads.

    Call it before they are read, so that an edit in between leaves a record that is stale and not one that is wrong.
    Raises UserError where a file is missing or differs from its record: nothing is computed from tampered input.
    """
    found = project_of(job)
    for one in job.reads:
        found |= verified(one.folder, one.names)
    return found


def verified(folder: Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """Path -> sha256 of some files that a job made, of all without `names`, each checked against its record.

    Raises UserError as `inputs_of`.
    """
    outputs, found = record.read(folder)["made"]["outputs"], {}
    for name in outputs if names is None else names:
        path = folder / name
        if name == ADOPTED and not path.is_file():
            continue
        if name != RECORD and not path.is_file():
            raise UserError(f"{path}: is missing, though its record is there. {record.RESTORE}")
        digest = files.sha256(path)
        if name not in (RECORD, ADOPTED) and digest != outputs.get(name):
            raise UserError(
                f"{path}: its bytes differ from its record.json: it was edited or cut short. {record.RESTORE}"
            )
        found[str(path)] = digest
    return found


def stems(job: Job) -> list[str]:
    """Small files of other jobs that stand for all that is read of each: its list of digests, its record, or both."""
    return [f"{one.folder}/{name}" for one in job.reads for name in (SUMS, RECORD) if name in one.names]


def adoptions(job: Job) -> list[str]:
    """Files beside the records that a job reads which say that other code made them: those that are there."""
    names = (f"{one.folder}/{ADOPTED}" for one in job.reads if ADOPTED in one.names)
    return [name for name in names if Path(name).is_file()]


def digest_of(job: Job, project: Mapping[str, str] | None = None) -> str:
    """One digest of what these files and those of the project say, whatever their time stamps; "" for what is gone.

    project: what those of the project said, where that is known already.
    """
    made = {name: _sha256(Path(name)) for name in (*stems(job), *adoptions(job))}
    return files.digest(made | dict(project_of(job) if project is None else project))


def project_of(job: Job) -> dict[str, str]:
    """Path -> digest of the files of the project that a job reads."""
    return {name: project_digest(name) for name in job.project}


def _sha256(path: Path) -> str:
    try:
        return files.sha256(path)
    except FileNotFoundError:
        return ""
