"""`python -m dp <command>`: one module of `dp.commands` per command, imported only when it is called."""

import argparse
import importlib
import sys

import dp
from dp.errors import Interrupted, UserError
from dp.escapes import printable

COMMANDS = {
    "fetch-task": "download and check the rows of one task",
    "fetch-backbone": "download, check and convert one backbone",
    "tokenize": "render and tokenize one task for one backbone, and fix its splits",
    "features": "compute the instance features of one task under one backbone",
    "train": "train one run, or one trial of a search",
    "choose": "choose among the trials of a variant by the selection split",
    "evaluate": "predict the reported split with one run and compute its metrics",
    "report": "collect a scale's evaluations into tables and figures",
    "claims": "judge the paper's claims by what has been evaluated so far",
    "why": "show everything that a number rests on",
    "diff": "say what changed between two states of the study: revisions or folders of results",
    "audit": "say whether what lies here is what the code, the parameters and the data say",
    "plan": "say what a scale costs before it is run: jobs, hours, disk and download",
    "status": "say how far a scale is, and how long the rest will take",
    "export": "write a scale's results, with their history, as a Workflow Run RO-Crate",
    "publish": "copy the default scale's results to docs/demo, or check that copy",
    "sync": "bring a fresh clone up to date with what DVC recorded",
    "schema": "write the JSON schema of the parameters",
}


def main(arguments: list[str] | None = None) -> None:
    """Run a command; a UserError is printed as one paragraph and exits with 2."""
    parser = argparse.ArgumentParser(prog="dp", description=dp.__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    chosen = (arguments or sys.argv[1:])[:1]
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
                             help="replace a top-level key of params.yaml")  # fmt: skip
        if chosen == [name]:
            module = importlib.import_module(f"dp.commands.{name.replace('-', '_')}")
            module.add_arguments(command)
    parsed = parser.parse_args(arguments)
    try:
        module.run(parsed)
    except UserError as error:
        print(printable(f"dp {parsed.command}: {error}"), file=sys.stderr)
        sys.exit(2)
    except Interrupted as stop:
        print(f"dp {parsed.command}: {stop}", file=sys.stderr)
        sys.exit(130)
