"""A worker for as long as a block lasts."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dp.jobs.closure import PACKAGE
from dp.worker.client import VARIABLE

FOLDERS = (None, "/tmp", "/var/tmp")
"""Where the socket may lie: in TMPDIR, or, since an address has some 100 characters at most, in a short folder."""


@contextmanager
def worker() -> Iterator[None]:
    """Within the block `python -m dp` hands its calls to one warm process (dp.worker.server).

    Clients wait in the socket's queue while it still imports. It ends with the block, or with this process however that
    dies: it reads the end of a pipe that only this process holds. Where it cannot be had, that is said, and every call
    runs by itself.
    """
    before = os.environ.get(VARIABLE)
    with ExitStack() as stack:
        try:
            path = stack.enter_context(_process())
        except OSError as error:
            print(f"No worker ({error}): each job starts by itself, 3 to 5 s later.", file=sys.stderr)
        else:
            os.environ[VARIABLE] = path
        try:
            yield
        finally:
            os.environ.pop(VARIABLE, None)
            if before is not None:
                os.environ[VARIABLE] = before


@contextmanager
def _process() -> Iterator[str]:
    """The address of a new worker, which ends with the block. Raises OSError where there can be none."""
    with _listening() as (listener, path):
        process = subprocess.Popen(
            [sys.executable, "-m", "dp.worker.server", str(listener.fileno()), os.path.dirname(path)],
            cwd=PACKAGE.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # a Ctrl-C is for the jobs, which stop in order
        )
        listener.close()
        try:
            yield path
        finally:
            process.kill()
            process.communicate()


@contextmanager
def _listening() -> Iterator[tuple[socket.socket, str]]:
    """A socket in a folder of its own, of mode 0700, which goes with the block. Raises OSError."""
    errors = []
    for where in FOLDERS:
        with ExitStack() as stack:
            try:
                folder = tempfile.mkdtemp(prefix="dynamic-prompting-", dir=where)
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                listener = stack.enter_context(socket.socket(socket.AF_UNIX))
                path = str(Path(folder) / "worker.sock")
                listener.bind(path)
                listener.listen(4096)
            except OSError as error:
                errors.append(f"{where or 'TMPDIR'}: {error}")
                continue
            yield listener, path
            return
    raise OSError("; ".join(errors))
