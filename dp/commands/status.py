"""`dp status`: what became of every artifact of a scale, and how long the rest will take."""

import argparse
import json
import sys
import time

from rich.live import Live

from dp.commands import common
from dp.errors import shown
from dp.lineage import standings, status_text

DAY = 86_400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--watch", type=seconds, nargs="?", const=5.0, metavar="SECONDS",
                     help="look again every so many seconds (5), until Ctrl-C")  # fmt: skip
    way.add_argument("--json", action="store_true", help="print one JSON document")


def seconds(text: str) -> float:
    """An interval to sleep for. Raises ArgumentTypeError for what is no time, or longer than a day."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0.1 <= seconds <= DAY:
        raise argparse.ArgumentTypeError(f"'{shown(text)}' is no number of seconds from 0.1 to {DAY}")
    return seconds


def run(arguments: argparse.Namespace) -> None:
    survey = standings.Survey(common.study(arguments))
    if arguments.watch is not None and sys.stdout.isatty():
        _watch(survey, arguments.watch)
        return
    jobs = survey.standings()
    if arguments.json:
        print(json.dumps(standings.as_json(survey.study, jobs), indent=2))
        return
    status_text.print_page(survey.study, list(jobs.values()), sys.stdout)
    if arguments.watch is not None:
        print("\n--watch: standard output is no terminal, so this was printed once.")


def _watch(survey: standings.Survey, seconds: float) -> None:
    """Until Ctrl-C."""
    console = status_text.console(sys.stdout)
    try:
        with Live(console=console, auto_refresh=False) as shown:
            while True:
                jobs = list(survey.standings().values())
                shown.update(status_text.live(survey.study, jobs, time.time()), refresh=True)
                time.sleep(seconds)
    except KeyboardInterrupt:
        return
