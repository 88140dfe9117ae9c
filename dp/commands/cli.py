"""`python -m dp <command>`: one module of `dp.commands` per command, imported only when it is called."""

import argparse
import errno
import importlib
import os
import select
import signal
import sys
from io import TextIOWrapper
from typing import NoReturn, TextIO

import dp
from dp.errors import MESSAGE, Interrupted, UserError, printable, shown

MAKING = {
    "fetch-task": "download and check the rows of one task",
    "fetch-backbone": "download, check and convert one backbone",
    "tokenize": "render and tokenize one task for one backbone, and fix its splits",
    "features": "compute the instance features of one task under one backbone",
    "train": "train one run, or one trial of a search",
    "choose": "choose among the trials of a variant by the selection split",
    "evaluate": "predict the reported split with one run and compute its metrics",
    "report": "collect a scale's evaluations into tables and figures",
}
"""What makes one artifact each (dp/commands/making.py)."""
COMMANDS = MAKING | {
    "claims": "judge the paper's claims by what has been evaluated so far",
    "why": "show everything that a number rests on",
    "diff": "say what changed between two states of the study: revisions or folders of results",
    "audit": "say whether what lies here is what the code, the parameters and the data say",
    "draft-task": "write a first task and scale for a table of one's own",
    "export-peft": "write what a run tuned as an adapter of the library peft",
    "predict": "label texts of one's own with what a run tuned",
    "lock": "pin what a scale reads from the hub to the commits it is at, and say what to commit",
    "plan": "say what a scale costs before it is run: jobs, hours, disk and download",
    "adopt": "take over results that other code made, with evidence that this code makes the same",
    "status": "say how far a scale is, and how long the rest will take",
    "tensorboard": "write the logs of a scale's trainings as event files of TensorBoard",
    "export": "write a scale's results, with their history, as a Workflow Run RO-Crate",
    "publish": "copy the results of demo, planted or ablation below docs/, or check that copy",
    "sync": "bring a fresh clone up to date with what DVC recorded, or merge what several sites made",
    "schema": "write the JSON schema of the parameters",
}


# What a machine refuses, whatever the code asks of it; all other errors of the system are mistakes of ours.
REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE,
            errno.ENFILE, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE)  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """As argparse, without echoing more of an argument than fits."""
        super().error(shown(message, MESSAGE))


def main(arguments: list[str] | None = None) -> None:
    """Run a command. A UserError, and what the machine refuses, is printed as one paragraph and exits with 2.

    Where nobody reads the output any more it ends without a word, as if by SIGPIPE.
    """
    escape()
    parser = _Parser(prog="dp", description=dp.__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    chosen = (arguments or sys.argv[1:])[:1]
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                             help="replace a top-level key of params.yaml")  # fmt: skip
        command.add_argument("--scale", action="append", metavar="NAME", dest="settings", type="scale={}".format,
                             help="short for --set scale=NAME")  # fmt: skip
        if chosen == [name]:
            module = importlib.import_module(f"dp.commands.{'making' if name in MAKING else name.replace('-', '_')}")
            module.add_arguments(command, *([name] if name in MAKING else []))
    parsed = parser.parse_args(arguments)
    # As `--table "$TABLE"` without that variable gives it. Some commands would take it for what is not asked.
    for name, value in vars(parsed).items():
        if value == "":
            parser.error(f"{name}: nothing stands here; name what you mean, or leave the argument out")
    try:
        try:
            module.run(parsed)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except UserError as error:
        _end(printable(f"dp {parsed.command}: {error}"), 2)
    except Interrupted as stop:
        _end(f"dp {parsed.command}: {stop}", 130)
    except OSError as error:
        if error.errno == errno.EPIPE and (_is_unread(sys.stdout) or _is_unread(sys.stderr)):
            _discard(sys.stdout)
            _discard(sys.stderr)
            sys.exit(128 + signal.SIGPIPE)
        if error.errno not in REFUSALS:
            raise
        if error.filename is None:
            _discard(sys.stdout)
        what = "the output" if error.filename is None else shown(error.filename, MESSAGE)
        remedy = "Give yourself the right to it, or make room; then call it again."
        _end(f"dp {parsed.command}: {what}: {error.strerror}. {remedy}", 2)


def escape() -> None:
    """Print characters that the output's encoding lacks as escapes. A stream that does so already is left alone."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")


def _end(text: str, status: int) -> NoReturn:
    try:
        print(text, file=sys.stderr)
    except OSError:  # there is nobody to tell; the status says it
        _discard(sys.stderr)
    sys.exit(status)


def _is_unread(stream: TextIO | None) -> bool:
    """Whether a stream is a pipe whose reader is gone."""
    if stream is None:
        return False
    watched = select.poll()
    watched.register(stream, 0)
    return bool(watched.poll(0))


def _discard(stream: TextIO | None) -> None:
    """Send a stream, and what it still holds, nowhere, so that its end is no further error."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
