"""publish: the committed copy of the default scale's results."""

import argparse

from dp.commands import common
from dp.errors import UserError
from dp.lineage import published


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="only say whether the copy is current")


def run(arguments: argparse.Namespace) -> None:
    """Copy the report's files to docs/demo, or check that copy; raises UserError where it is not current."""
    study = common.study(arguments)
    if not arguments.check:
        published.publish(study)
        print(f"{published.FOLDER} now holds the results of scale '{study.scale_name}'; commit it.")
        return
    found = list(published.problems(study))
    if found:
        raise UserError(f"{published.FOLDER} is not current: {'; '.join(found)}. {published.REMEDY}.")
    print(f"{published.FOLDER} is current.")
