"""TensorBoard's event files of trainings, running and finished ones: a copy of their logs for those who watch there.

No training knows of them: they are written beside it, from its log. So they are no result, and stand in no record.
"""

import json
import os
import select
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dp import files, paths
from dp.errors import UserError, shown

FOLDER = paths.LOGS / "tensorboard"
COPIED = "steps.jsonl.sha256"
"""Beside the event file of a finished training: the digest of the log that it is a copy of."""
SECONDS = 5.0
"""Between two looks at the logs."""


def check_installed() -> None:
    """Raises UserError where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError(
            "event files are written by TensorBoard, which is not installed: `pip install -e '.[curves]'`, or leave "
            "`curves` in params.yaml null."
        )


def folder_of(training: Path) -> Path:
    """Where the event file of a training lies. training: its folder, results/train/..."""
    return FOLDER / training.relative_to(paths.TRAIN)


class Copies:
    """The event files of some trainings, kept up with their logs."""

    def __init__(self, trainings: Iterable[Path]) -> None:
        self.every = [_Copy(folder) for folder in trainings]

    def update(self) -> None:
        """Write what was logged since the last call. Raises UserError where a log holds what no training logs."""
        for one in self.every:
            one.update()

    def __len__(self) -> int:
        return sum(one.into.is_dir() for one in self.every)


class _Copy:
    """One event file. While its training runs it grows with the log; a log that begins anew, or goes back behind what
    was copied, as a resumed one does, is copied anew, and so is the one that a training ends with."""

    def __init__(self, training: Path) -> None:
        self.running, self.finished = training / "state" / "steps.jsonl", training / "steps.jsonl"
        self.into = folder_of(training)
        self.writer: Any = None
        self.first, self.count = b"", 0
        self.seen: tuple[int, int] | None = None  # size and time of a finished log that was found copied

    def update(self) -> None:
        if self._copy(self.running) or not self.finished.is_file():
            return
        now = self.finished.stat()
        if self.seen == (now.st_size, now.st_mtime_ns):
            return
        self.seen = (now.st_size, now.st_mtime_ns)
        digest, copied = files.sha256(self.finished), self.into / COPIED
        if copied.is_file() and copied.read_text() == digest:
            return
        self._begin()
        self._copy(self.finished)
        self._close()
        self.into.mkdir(parents=True, exist_ok=True)
        files.write_text(copied, digest)

    def _copy(self, log: Path) -> bool:
        """Whether there is such a log. Its last line may be half written: that is left for the next time."""
        try:
            lines = log.read_bytes().split(b"\n")[:-1]
            last = os.stat(log).st_mtime
        except FileNotFoundError:
            return False
        if lines[:1] != [self.first] or len(lines) < self.count:
            self._begin()
            self.first = lines[0] if lines else b""
        new = [
            _parsed(line, f"{log}, line {self.count + number}") for number, line in enumerate(lines[self.count :], 1)
        ]
        time = last - sum(line.get("seconds", 0.0) for line in new)
        for line in new:
            time += line.get("seconds", 0.0)
            self._write(line, time)
        self.count = len(lines)
        if self.writer:
            self.writer.flush()
        return True

    def _write(self, line: dict[str, Any], time: float) -> None:
        """time: seconds since 1970."""
        for tag, value in scalars(line).items():
            if self.writer is None:
                from torch.utils.tensorboard import SummaryWriter

                self.writer = SummaryWriter(str(self.into))
            self.writer.add_scalar(tag, value, line["step"], time)

    def _begin(self) -> None:
        self._close()
        shutil.rmtree(self.into, ignore_errors=True)

    def _close(self) -> None:
        if self.writer:
            self.writer.close()
        self.writer, self.first, self.count = None, b"", 0


def scalars(line: dict[str, Any]) -> dict[str, float]:
    """Tag -> number, of a line of steps.jsonl: `train/loss` of an update, `selection/accuracy` of a look, and so on.

    What an update counted (`splits`, `lengths`) and the weights of a pool are no scalars; a line that says that a run
    overflowed has none.
    """
    part, numbers = ("selection", line["selection"]) if "selection" in line else ("train", line)
    numbers = {key: value for key, value in numbers.items() if key != "step"}
    numbers |= {f"by_task/{task}": value for task, value in enumerate(numbers.get("by_task", []))}
    return {f"{part}/{key}": value for key, value in numbers.items()
            if isinstance(value, int | float) and not isinstance(value, bool)}  # fmt: skip


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
        if isinstance(found["step"], int):
            return dict(found)
    except (ValueError, LookupError, TypeError):
        pass
    raise UserError(f"{where}: is no line of a training's log: {shown(line.decode(errors='replace'))}.")


def keep_up(trainings: Iterable[Path], seconds: float) -> None:
    """Look every so many seconds, until Ctrl-C or, where standard input is a pipe, until its other end is closed."""
    with alone():
        copies, ended = Copies(trainings), False
        while not ended:
            copies.update()
            ended = _waited(seconds)
        copies.update()


@contextmanager
def alone() -> Iterator[None]:
    """Raises UserError where another process writes event files here."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(FOLDER / ".lock", timeout=0):
            yield
    except Timeout:
        raise UserError(
            f"{FOLDER}: another `dp tensorboard`, of a snakemake perhaps, writes here. Wait for it."
        ) from None


def _waited(seconds: float) -> bool:
    """Whether it ends: by Ctrl-C, or with the process at the other end of the pipe, however that ended."""
    try:
        held = stat.S_ISFIFO(os.fstat(0).st_mode)
    except OSError:  # there is no standard input
        held = False
    try:
        return bool(select.select([0] if held else [], [], [], seconds)[0])
    except KeyboardInterrupt:
        return True


@contextmanager
def beside() -> Iterator[None]:
    """Within the block a process of its own keeps event files up; it has caught up when the block has ended."""
    command = [sys.executable, "-m", "dp", "tensorboard", "--watch"]
    # A Ctrl-C is for the jobs, which stop in order.
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        try:
            process.communicate()
        except KeyboardInterrupt:
            process.kill()
            process.wait()
