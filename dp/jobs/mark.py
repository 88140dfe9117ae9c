"""What became of a job that left no record: it runs, it failed, or it was stopped (`paths.state`)."""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from dp import files, paths
from dp.errors import Interrupted


@contextmanager
def marked(folder: Path, command: str) -> Iterator[None]:
    """Say beside the logs that a job runs; afterwards that it failed and why, or nothing where it ended or was stopped.

    A job that was killed leaves the mark of a running one; `read` tells it by its process. Where the mark cannot be
    written, that is said, and the job goes on.
    """
    path = paths.state(folder)
    mark: dict[str, Any] = {"command": command, "pid": os.getpid(), "host": platform.node(), "started": time.time()}
    if number := os.environ.get("SLURM_JOB_ID"):
        mark["slurm_job"] = number
    try:
        files.write_json(path, mark | {"state": "running"})
    except OSError as error:
        print(f"{error}, so `python -m dp status` will not know how this job is.", file=sys.stderr)
        yield
        return
    try:
        yield
    except (Interrupted, KeyboardInterrupt, SystemExit):
        path.unlink(missing_ok=True)
        raise
    except BaseException as error:
        files.write_json(path, mark | {"state": "failed", "error": f"{type(error).__name__}: {error}"})
        raise
    path.unlink(missing_ok=True)


class _Mark(BaseModel):
    """As `marked` writes it."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)
    command: str
    state: Literal["running", "failed"]
    pid: Annotated[int, Field(gt=0, lt=2**31)]
    host: str
    started: float
    slurm_job: Annotated[str, Field(pattern=r"^\d+$")] | None = None
    error: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def says_why(self) -> "_Mark":
        if self.state == "failed" and self.error is None:
            raise ValueError("error is missing")
        return self


def read(folder: Path) -> dict[str, Any] | None:
    """The mark of an artifact's job, if any: `state` (running, stopped, failed), `pid`, `host`, `started`, `error`.

    `stopped`: its process is gone without a word. On another host SLURM can tell, where it started the job; else nobody
    can, and it counts as running.
    """
    try:
        mark = _Mark.model_validate(files.read_json(paths.state(folder))).model_dump(exclude_none=True)
    except (OSError, ValueError, RecursionError):  # none, or no mark
        return None
    if mark["state"] == "running":
        here = mark["host"] == platform.node()
        if not (_lives(mark["pid"]) if here else _is_queued(mark.get("slurm_job"))):
            mark["state"] = "stopped"
    return mark


def _is_queued(number: str | None) -> bool:
    """Whether SLURM's queue holds a job; also where it cannot be asked."""
    if number is None or shutil.which("squeue") is None:
        return True
    try:
        asked = ["squeue", "--noheader", "--format=%T", "--jobs", number]
        told = subprocess.run(asked, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return bool(told.stdout.strip()) if told.returncode == 0 else "Invalid job id" not in told.stderr


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True
