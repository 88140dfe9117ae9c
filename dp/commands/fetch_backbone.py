"""fetch-backbone: one backbone as config, safetensors and tokenizer, from the source that params.yaml names."""

import argparse

from dp import paths
from dp.commands import common
from dp.jobs.record import recording
from dp.sources import weights as fetch
from dp.sources.cache import staging
from dp.study import grid


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backbone", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write the files that `paths.FILES` names, and record.json. Raises UserError for anything unverified."""
    catalogue = common.catalogue(arguments)
    name = common.backbone(catalogue, arguments)
    folder, asked = paths.backbone(name), grid.backbone_config(catalogue, name)
    inputs: dict[str, str] = {}
    with recording(folder, "fetch-backbone", asked, inputs, paths.FILES["fetch-backbone"]) as made:
        with staging(folder) as aside:
            facts = fetch.fetch(catalogue.params.backbones[name], aside)
        inputs |= facts["files"]
        made |= facts
