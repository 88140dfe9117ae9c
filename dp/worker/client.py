"""The calling side of the worker: hands a call over and stands in for it until it ends. Imports next to nothing."""

import contextlib
import json
import os
import signal
import socket
import sys
from types import FrameType

VARIABLE = "DYNAMIC_PROMPTING_WORKER"
COMMANDS = ("tokenize", "features", "train", "evaluate")
"""Those that import torch. The others start in 0.2 s by themselves, and their records say that they had no torch."""
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
HEADER = 4  # bytes: the length of a request


def hand_over(arguments: list[str]) -> int | None:
    """The exit status of `python -m dp <arguments>` as the worker ran it, 128 + N after a signal N.

    None where no worker takes it: then nothing has run. SIGINT, SIGTERM and SIGHUP are forwarded, unless they are
    ignored here (nohup); if this process is killed, so is the job.
    """
    path = os.environ.get(VARIABLE)
    if not path or not arguments or arguments[0] not in COMMANDS:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        # A signal that comes between the job's start and the handlers waits for them.
        signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
        try:
            connection.connect(path)
            _send(connection, arguments)
            taken = _byte(connection)
        except OSError:
            taken = b""
        if not taken:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
            return None

        def forward(number: int, frame: FrameType | None) -> None:
            with contextlib.suppress(OSError):  # the job has just ended
                connection.send(bytes([number]))

        for number in FORWARDED:
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, forward)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        status = _byte(connection)
    if not status:
        print(f"dp {arguments[0]}: the worker lost this job; the same command goes on from its state.", file=sys.stderr)
        return 1
    return status[0]


def _send(connection: socket.socket, arguments: list[str]) -> None:
    umask = os.umask(0o077)
    os.umask(umask)
    request = json.dumps(
        {
            "arguments": arguments,
            "environment": dict(os.environ),
            "folder": os.getcwd(),
            "umask": umask,
            "python": sys.executable,
            "program": program(),
        }
    ).encode()
    socket.send_fds(connection, [len(request).to_bytes(HEADER, "big")], [0, 1, 2])
    connection.sendall(request)


def program() -> list[str]:
    """What runs a call, whatever name it was called by: this environment's interpreter, on this copy of the package."""
    return [sys.prefix, sys.version, os.path.realpath(__file__)]


def _byte(connection: socket.socket) -> bytes:
    """The next byte, or none where the other side is gone."""
    try:
        return connection.recv(1)
    except OSError:
        return b""
