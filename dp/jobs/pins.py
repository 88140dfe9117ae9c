"""Which commit of the hub a download is of: whether the lock pins it, and whether it did when it was made."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dp.jobs import adoption, git, record
from dp.jobs.job import RECORD, Job
from dp.sources.hub_lock import LOCK, RepoType, is_commit, pinned

HUB: dict[str, RepoType] = {"fetch-backbone": "model", "fetch-task": "dataset"}
"""Commands that may download from the hub -> of what kind the repository is."""


def moved(record: dict[str, Any]) -> str | None:
    """Why a download is not of the commit that `workflow/hub.lock.yaml` pins now; None where it is, or none is."""
    made = record["made"]
    if "commit" not in made:
        return None
    pin = pinned(made["repo"], made["revision"], HUB[record["command"]])
    if pin in (None, made["commit"]):
        return None
    return f"{LOCK} pins commit {pin} of {made['repo']}, and it was made from {made['commit']}"


def fact(command: str, made: dict[str, Any]) -> dict[str, bool]:
    """For the record of a download from the hub: `pinned`, whether this state of the project, as committed, names its
    commit, by a revision that is one or by the lock."""
    if command not in HUB or "commit" not in made:
        return {}
    committed = committed_lock()
    named = committed is not None and pinned(made["repo"], made["revision"], HUB[command], committed)
    return {"pinned": is_commit(made["revision"]) or named == made["commit"]}


def committed_lock() -> bytes | None:
    """The lock as the commit that is checked out has it; None where it has none, or git names no commit."""
    try:
        return git.run(Path(), "show", f"HEAD:./{LOCK.as_posix()}")
    except git.GitError:
        return None


def loose(record: dict[str, Any]) -> str | None:
    """What a job downloaded, where that is a commit of the hub that was pinned nowhere; else None."""
    made = record["made"]
    if record["command"] not in HUB or "commit" not in made or made.get("pinned"):
        return None
    return (
        f"commit {made['commit']} of {made['repo']}, revision {made['revision']}, which no commit of the project named"
    )


def unpinned(jobs: Iterable[Job]) -> set[Path]:
    """Folders of jobs, upstream first, that rest on such a download."""

    def is_loose(job: Job) -> bool:
        return job.command in HUB and (job.folder / RECORD).is_file() and loose(record.read(job.folder)) is not None

    return adoption.resting(jobs, is_loose)
