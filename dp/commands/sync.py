"""`dp sync`: bring a fresh clone up to date with what DVC recorded, without computing anything."""

import argparse

from dp.errors import UserError
from dp.lineage.syncing import sync


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--remote", metavar="NAME", help="the DVC remote to pull from; otherwise the default one")
    parser.add_argument("--no-pull", action="store_true", help="the data are here already, as after `dvc checkout`")


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError as `dp.lineage.syncing.sync` does, and for --set: dvc.lock says what was recorded."""
    if arguments.settings:
        raise UserError("sync takes over the scale that dvc.lock and params.yaml name; leave out --set and --scale.")
    sync(arguments.remote, pull=not arguments.no_pull)
