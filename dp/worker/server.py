"""The warm process: imports what the jobs need once, then forks a process for each call (docs/results.md).

It computes nothing and starts no thread, so that a fork of it is as good as a fresh process. Each call has two
processes: the job, and a warden that passes signals and the exit status between the job and its client.
"""

import atexit
import gc
import json
import os
import select
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dp.commands import cli
from dp.jobs.closure import PACKAGE, modules
from dp.worker.client import HEADER, VARIABLE, program

THREADS = [f"{name}_NUM_THREADS" for name in ("OMP", "MKL", "OPENBLAS", "GOTO", "NUMEXPR")] + ["VECLIB_MAXIMUM_THREADS"]
# What is read while Python starts and libraries are imported; a call that differs in one of these starts afresh.
READ_AT_IMPORT = ("PYTHON", "LD_", "LANG", "LC_", "HOME", "XDG_", "TORCH", "PYTORCH", "HF_", "TRANSFORMERS_",
                  "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A client's call, in the process that is to run it."""

    asked: dict[str, Any]
    descriptors: list[int]  # the client's stdin, stdout, stderr
    open_while_running: int  # the warden reads the end of this pipe when the job is gone


def main() -> None:
    """Arguments: the number of the listening socket, and the folder to remove at the end."""
    state = _state(program(), dict(os.environ))
    cli.escape()
    _import()
    call = _serve(socket.socket(fileno=int(sys.argv[1])))
    if call is None:
        shutil.rmtree(sys.argv[2], ignore_errors=True)
    else:
        _run(call, state)


def _import() -> None:
    os.environ.update(dict.fromkeys(THREADS, "1"))  # numpy would start threads; a job sets torch's number
    import transformers

    from dp.compute import evaluate, features, tokenize, train

    for name in ("T5ForConditionalGeneration", "LlamaForCausalLM", "BertForMaskedLM", "RobertaForMaskedLM"):
        getattr(transformers, name)
    for command in (evaluate, features, tokenize, train):
        modules(command.__name__.rpartition(".")[2])
    gc.collect()
    gc.freeze()  # a job's collections leave these pages shared


def _serve(listener: socket.socket) -> Call | None:
    """A call, in each job's own process; None in the server once its starter, at the other end of stdin, is gone."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while 0 not in select.select([listener.fileno(), 0], [], [])[0]:
        connection, _ = listener.accept()
        try:
            warden = os.fork()
        except OSError:  # the client finds its connection closed, and runs by itself
            warden = -1
        if warden == 0:
            listener.close()
            return _guard(connection)
        connection.close()
    return None


def _guard(connection: socket.socket) -> Call:
    """Start the client's job and return in it; this process stays behind as its warden."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    header, descriptors, _, _ = socket.recv_fds(connection, HEADER, 3, socket.MSG_WAITALL)
    size = int.from_bytes(header, "big")
    request = connection.recv(size, socket.MSG_WAITALL)
    if len(header) < HEADER or len(request) < size:  # the client was killed meanwhile
        os._exit(0)
    running, held = os.pipe()
    job = os.fork()
    if job == 0:
        connection.close()
        os.close(running)
        return Call(json.loads(request), descriptors, held)
    for descriptor in (*descriptors, held):
        os.close(descriptor)
    _watch(connection, job, running)
    os._exit(0)


def _watch(connection: socket.socket, job: int, running: int) -> None:
    """Pass the client's signals on to the job, kill the job if the client is gone, and tell the client its end.

    Where the worker's starter is gone (stdin ends), nobody waits for the job, and its successor may start the same one:
    it gets SIGTERM, so that it saves its state, unless it has been told to stop already.
    """
    watched = [running, connection.fileno(), 0]
    try:
        connection.send(b"\0")  # taken
        while running not in (ready := select.select(watched, [], [])[0]):
            if connection.fileno() in ready:
                signals = connection.recv(16)
                if not signals:
                    raise ConnectionResetError
            else:
                signals = bytes([signal.SIGTERM])
            watched = watched[:2]
            for number in signals:
                os.kill(job, number)
        code = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
        connection.send(bytes([code if code >= 0 else 128 - code]))
    except OSError:
        os.kill(job, signal.SIGKILL)


def _run(call: Call, state: list[Any]) -> None:
    """What `python -m dp` does, in this process if that is what a fresh one would be."""
    asked, environment = call.asked, call.asked["environment"]
    for number, descriptor in enumerate(call.descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.umask(asked["umask"])
    os.chdir(asked["folder"])
    import torch

    threads = _threads(environment)
    if threads is None or _state(asked["program"], environment) != state or torch.cuda._is_in_bad_fork():
        os.set_inheritable(call.open_while_running, True)
        fresh = {name: value for name, value in environment.items() if name != VARIABLE}
        os.execve(asked["python"], [asked["python"], "-m", "dp", *asked["arguments"]], fresh)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(threads)
    tempfile.tempdir = None  # from the environment, once more
    sys.stdout.reconfigure(line_buffering=sys.stdout.isatty())  # type: ignore[union-attr]
    try:
        cli.main(asked["arguments"])
        status = 0
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        status = end.code
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)  # taking all that was imported apart would take longer than a small job


def _threads(environment: dict[str, str]) -> int | None:
    """The one number of threads that a fresh process would take from its environment, if there is one."""
    numbers = {environment[name] for name in THREADS if name in environment}
    one = numbers.pop() if len(numbers) == 1 and "OMP_NUM_THREADS" in environment else ""
    return int(one) or None if one.isdecimal() else None


def _state(program: list[str], environment: dict[str, str]) -> list[Any]:
    """What imported modules depend on: the program, its sources on disk, and the environment that imports read."""
    sources = {str(path): _stamp(path) for path in PACKAGE.rglob("*.py")}
    read = {key: environment[key] for key in environment if key.startswith(READ_AT_IMPORT) and key not in THREADS}
    return [program, sources, read]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except FileNotFoundError:  # an editor replaces it just now
        return None
    return facts.st_size, facts.st_mtime_ns


if __name__ == "__main__":
    main()
