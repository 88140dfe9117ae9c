"""`dp plan`: what a scale costs before it is run: jobs, hours, disk and download."""

import argparse
import sys

from dp.commands import common
from dp.planning import measure
from dp.planning.estimate import plan
from dp.planning.printed import here, print_plan
from dp.study import needs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", help="what one table of the paper needs: A_position, B_length or C_prompt")
    parser.add_argument("--backbone", help="what one backbone needs")
    parser.add_argument("--regime", help="what one regime needs: full, fewshot, multitask, or the name of one")
    parser.add_argument("--measure", action="store_true", help="time a few passes here, some seconds a backbone")


def run(arguments: argparse.Namespace) -> None:
    """Print the plan. Raises UserError for a scale, table, backbone or regime that is none."""
    study = common.study(arguments)
    needs.check_tasks(study)
    measured = []
    if arguments.measure:
        if warning := measure.busy():
            print(f"dp plan: {warning}", file=sys.stderr)
        measured = measure.measured(study)
    found = plan(study, measured, arguments.table, arguments.backbone, arguments.regime)
    print_plan(found, sys.stdout)
    if arguments.measure:
        print(here(found, measure.product()))
