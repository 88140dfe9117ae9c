"""publish: the committed copies of results."""

import argparse

from dp.closed import one_of
from dp.commands import common
from dp.errors import UserError
from dp.lineage import published


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="only say whether the copy is current")


def run(arguments: argparse.Namespace) -> None:
    """Copy a report's files below docs/, or check that copy; raises UserError where it is not current."""
    study = common.study(arguments)
    scale, part = study.scale_name, published.part_of(study)
    folder = published.folder_of(scale, part)
    if not arguments.check:
        published.publish(study)
        print(f"{folder} now holds the results of scale '{scale}'; commit it.")
        return
    one_of("publish: scale", scale, published.FILES, "its results are not published")
    found = list(published.problems(study))
    if found:
        raise UserError(f"{folder} is not current: {'; '.join(found)}. {published.remedy(scale, part)}.")
    print(f"{folder} is current.")
