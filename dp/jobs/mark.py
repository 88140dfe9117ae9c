"""What became of a job that left no record: it runs, it failed, or it was stopped (`paths.state`)."""

import os
import platform
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
    mark = {"command": command, "pid": os.getpid(), "host": platform.node(), "started": time.time()}
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
    error: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def says_why(self) -> "_Mark":
        if self.state == "failed" and self.error is None:
            raise ValueError("error is missing")
        return self


def read(folder: Path) -> dict[str, Any] | None:
    """The mark of an artifact's job, if any: `state` (running, stopped, failed), `pid`, `host`, `started`, `error`.

    `stopped`: its process is gone without a word. On another host nobody can tell, so it counts as running.
    """
    try:
        mark = _Mark.model_validate(files.read_json(paths.state(folder))).model_dump(exclude_none=True)
    except (OSError, ValueError, RecursionError):  # none, or no mark
        return None
    if mark["state"] == "running" and mark["host"] == platform.node() and not _lives(mark["pid"]):
        mark["state"] = "stopped"
    return mark


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        pass
    return True
