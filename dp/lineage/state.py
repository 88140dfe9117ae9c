"""What became of a job that left no record: it runs, it failed, or it was stopped (`paths.state`)."""

import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


def read(folder: Path) -> dict[str, Any] | None:
    """The mark of an artifact's job, if any: `state` (running, stopped, failed), `pid`, `host`, `started`, `error`.

    `stopped`: its process is gone without a word. On another host nobody can tell, so it counts as running.
    """
    try:
        mark = files.read_json(paths.state(folder))
    except (FileNotFoundError, ValueError):
        return None
    if mark["state"] == "running" and mark["host"] == platform.node() and not _lives(mark["pid"]):
        mark["state"] = "stopped"
    return mark


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
