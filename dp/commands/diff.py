"""diff: what changed between two states of the study."""

import argparse
import json
import sys

from dp.errors import printable
from dp.lineage import differences, snapshots
from dp.lineage.diff_text import domains_of, text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    state = "a git revision, a project's folder or a folder of results"
    parser.add_argument("old", help=state)
    parser.add_argument("new", nargs="?", help=f"{state}; without it, the working tree")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON document")


def run(arguments: argparse.Namespace) -> None:
    """Print the difference and exit with 1, or with 0 where there is none; raises UserError as `snapshots.read`."""
    old, new = snapshots.read(arguments.old), snapshots.read(arguments.new)
    found = differences.compare(old, new)
    if arguments.json:
        print(json.dumps(found, indent=2, sort_keys=True, default=str))
    else:
        print(printable(text(found, domains_of({*old.records, *new.records}))))
    sys.exit(1 if found["different"] else 0)
