"""`dp plan`: what a scale costs before it is run: jobs, hours, disk and download."""

import argparse
import json
import sys

from dp.commands import common
from dp.planning import measure
from dp.planning.estimate import plan, select
from dp.planning.levers import levers
from dp.planning.printed import as_json, here, print_plan
from dp.study import needs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", help="what one table of the paper needs: A_position, B_length or C_prompt")
    parser.add_argument("--backbone", help="what one backbone needs")
    parser.add_argument("--regime", help="what one regime needs: full, fewshot, multitask, or the name of one")
    parser.add_argument("--levers", action="store_true", help="what an H100 would take with one thing done otherwise")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
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
    pulled = (
        levers(study, select(study, arguments.table, arguments.backbone, arguments.regime)) if arguments.levers else []
    )
    if arguments.json:
        print(json.dumps(as_json(found, pulled), indent=2))
        return
    print_plan(found, sys.stdout, pulled)
    if arguments.measure:
        print(here(found, measure.product()))
