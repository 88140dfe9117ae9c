"""Snakemake and DVC, called as a person would call them."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dp.errors import Interrupted
from dp.jobs import git


def snakemake(
    *arguments: str, settings: list[str], targets: Sequence[str] = ("all",)
) -> subprocess.CompletedProcess[str]:
    config = ["--config", *settings] if settings else []
    return call("snakemake", "--cores", "1", "--nocolor", *arguments, *config, "--", *targets)


def said_by_snakemake(done: subprocess.CompletedProcess[str]) -> str:
    """The end of what it said behind its banner."""
    return words(done).rpartition("Building DAG of jobs...\n")[2][-2000:]


def call(*command: str, shown: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a tool of this interpreter. Nobody answers its questions, so DVC removes nothing that is not stored.

    Ctrl-C reaches the tool too, which then puts away its locks: it is waited for.
    """
    pipe = None if shown else subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
        text=True,
        env=git.environment(),
    )
    stopped = False
    while True:
        try:
            out, error = process.communicate()
            break
        except KeyboardInterrupt:
            stopped = True
    if stopped:
        raise Interrupted(f"stopped during `{shlex.join(command[:2])}`; the same command goes on from what is here.")
    return subprocess.CompletedProcess(command, process.returncode, out or "", error or "")


def words(done: subprocess.CompletedProcess[str]) -> str:
    return f"{done.stdout}\n{done.stderr}".strip()


@contextmanager
def step(what: str) -> Iterator[None]:
    print(f"{what} ...", flush=True)
    started = time.monotonic()
    yield
    print(f"  {time.monotonic() - started:.1f} s", flush=True)
