"""`dp export`: a scale's results, with their history, as one folder for somebody else."""

import argparse
from pathlib import Path

from dp.commands import common
from dp.lineage import crate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, help="the folder to write (default: results-crate/<scale>)")


def run(arguments: argparse.Namespace) -> None:
    """Write the crate and say what it holds; raises as `crate.export` does."""
    study = common.study(arguments)
    out = arguments.out or Path("results-crate") / study.scale_name
    found = crate.export(study, out)
    print(f"{out}: {found.jobs} jobs, {found.entities} entities, {found.copied} files ({found.size / 1e6:.1f} MB)")
    print(f"{found.referenced} files of backbones and tasks are named with their sha256 and not included.")
