"""`dp export-peft`: what a run tuned, as an adapter of the library peft."""

import argparse
from pathlib import Path

from dp.commands import common


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="backbone/regime/task/variant/seed<n> of the scale, or its folder")
    parser.add_argument("--task", help="of a run that serves several: which one")
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")


def run(arguments: argparse.Namespace) -> None:
    """Write the adapter, its card, and say how well both agree. Raises UserError as `adapter.export`."""
    folder = common.trained(arguments)
    from dp.inference import adapter

    check = adapter.export(folder, arguments.out, arguments.task)
    print(f"{arguments.out}: adapter_config.json, adapter_model.safetensors, README.md. On {check.rows} reported rows "
          f"peft's scores and the run's differ by at most {check.difference:.0e} of the largest.")  # fmt: skip
