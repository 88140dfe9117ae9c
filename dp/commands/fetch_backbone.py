"""fetch-backbone: one backbone as config, safetensors and tokenizer, from the source that params.yaml names."""

import argparse

from dp import grid, paths
from dp.backbones import fetch
from dp.closed import nearest
from dp.commands import common
from dp.data.cache import staging
from dp.errors import UserError
from dp.lineage.record import recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write the files that `paths.FILES` names, and record.json. Raises UserError for anything unverified."""
    study = common.study(arguments)
    known = study.params.backbones
    if arguments.backbone not in known:
        hint = nearest(arguments.backbone, known)
        raise UserError(f"--backbone {arguments.backbone}: params.yaml defines no such backbone{hint}.")
    folder = paths.backbone(arguments.backbone)
    asked = grid.backbone_config(study, arguments.backbone)
    inputs: dict[str, str] = {}
    with recording(folder, "fetch-backbone", asked, inputs, paths.FILES["fetch-backbone"]) as made:
        with staging(folder) as aside:
            facts = fetch.fetch(known[arguments.backbone], aside)
        inputs |= facts["files"]
        made |= facts
