"""A worker for as long as a block lasts."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dp.lineage.closure import PACKAGE
from dp.worker.client import VARIABLE


@contextmanager
def worker() -> Iterator[None]:
    """Within the block `python -m dp` hands its calls to one warm process (dp.worker.server).

    Clients wait in the socket's queue while it still imports. It ends with the block, or with this process however that
    dies: it reads the end of a pipe that only this process holds.
    """
    folder = Path(tempfile.mkdtemp(prefix="dynamic-prompting-"))  # mode 0700
    before = os.environ.get(VARIABLE)
    path = folder / "worker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(4096)
        process = subprocess.Popen(
            [sys.executable, "-m", "dp.worker.server", str(listener.fileno()), str(folder)],
            cwd=PACKAGE.parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # a Ctrl-C is for the jobs, which stop in order
        )
    os.environ[VARIABLE] = str(path)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE)
        if before is not None:
            os.environ[VARIABLE] = before
        process.kill()
        process.communicate()
        shutil.rmtree(folder, ignore_errors=True)
