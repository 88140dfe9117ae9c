"""`dp tensorboard`: the logs of a scale's trainings as TensorBoard's event files."""

import argparse

from dp.commands import common
from dp.commands.status import seconds
from dp.lineage import event_files
from dp.study.resolve import jobs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--watch", type=seconds, nargs="?", const=event_files.SECONDS, metavar="SECONDS",
                        help="go on while trainings run: look every so many seconds (5), until Ctrl-C")  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Write them below results/logs/tensorboard; finished trainings whose copy is there are left alone."""
    event_files.check_installed()
    trainings = [folder for folder, job in jobs(common.study(arguments)).items() if job.command == "train"]
    print(f"tensorboard --logdir {event_files.FOLDER}", flush=True)
    if arguments.watch is not None:
        event_files.keep_up(trainings, arguments.watch)
        return
    with event_files.alone():
        copies = event_files.Copies(trainings)
        copies.update()
    print(f"{len(copies)} of {len(trainings)} trainings have begun; their event files are up to date")
