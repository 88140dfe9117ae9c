"""From a number to everything that it rests on."""

import argparse
import json
import sys

from rich.console import Console

from dp.commands import common
from dp.lineage.why.address import FORMS, number
from dp.lineage.why.shown import as_json, as_text
from dp.lineage.why.tree import lineage

UNBOUNDED = 1_000_000
"""Columns, where nobody watches: a path is never cut."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("number", help=FORMS)
    parser.add_argument("--json", action="store_true", help="one JSON document, with every record in full")


def run(arguments: argparse.Namespace) -> None:
    """Print the tree. Exits with 1 where it does not hold: a record is missing, or bytes are not what one says."""
    asked = number(arguments.number, lambda: common.study(arguments))
    nodes = lineage(asked.roots, asked.runs)
    nodes[asked.roots[0]].problems += asked.problems
    if arguments.json:
        print(json.dumps(as_json(asked, nodes), indent=2))
    else:
        console = Console(width=None if sys.stdout.isatty() else UNBOUNDED, highlight=False)
        console.print(*as_text(asked, nodes), sep="\n")
    if any(node.problems for node in nodes.values()):
        sys.exit(1)
