"""`dp sync`: bring a clone up to date with what DVC recorded, here or at several sites, without computing anything."""

import argparse

from dp.commands import common
from dp.errors import UserError
from dp.lineage.merging import merge
from dp.lineage.sites import Site
from dp.lineage.syncing import sync


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--remote", metavar="NAME", help="the DVC remote to pull from; otherwise the default one")
    parser.add_argument("--no-pull", action="store_true", help="the data are here already, as after `dvc checkout`")
    parser.add_argument("--merge", metavar="REVISION[:REMOTE]", action="append", type=Site.of, default=[],
                        help="add what the dvc.lock of another git revision names to what lies here, from a remote of "
                             "its own; may be given several times")  # fmt: skip
    parser.add_argument("--prefer", metavar="REVISION", action="append", default=[],
                        help="whose bytes to take where those of sites differ; `here` is this clone")  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Raises UserError as `dp.lineage.syncing.sync` and `dp.lineage.merging.merge` do, and for --set without --merge:
    dvc.lock says what was recorded."""
    if arguments.merge:
        sites = [site._replace(remote=site.remote or arguments.remote) for site in arguments.merge]
        fetch = not arguments.no_pull
        merge(common.study(arguments), arguments.settings, sites, arguments.prefer, fetch)
        return
    if arguments.prefer:
        raise UserError("--prefer chooses between sites: name them with --merge.")
    if arguments.settings:
        raise UserError("sync takes over the scale that dvc.lock and params.yaml name; leave out --set and --scale.")
    sync(arguments.remote, pull=not arguments.no_pull)
