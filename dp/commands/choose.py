"""Choose among the trials of a variant by the selection split alone."""

import argparse

from dp import files, paths
from dp.closed import one_of
from dp.commands import common
from dp.errors import UserError
from dp.jobs.record import outputs_of, record_of, recording
from dp.study import grid
from dp.study.search import best


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--variant", required=True, help="backbone/regime/task/variant")


def run(arguments: argparse.Namespace) -> None:
    """Write choice.json and record.json. Raises UserError where the scale has no search or no such variant."""
    study = common.study(arguments)
    if study.scale.search is None:
        raise UserError(f"scale '{study.scale_name}' has no search, so there is nothing to choose.")
    cells = {cell.variant_path: cell for cell in grid.trainings(study)}
    variant = one_of("--variant", arguments.variant, cells, f"scale '{study.scale_name}' trains no such variant")
    tried = grid.trials(study, cells[variant])
    folders = [paths.train_run(study.scale_name, trial.run) for trial in tried]
    folder = paths.choice(study.scale_name, variant)
    inputs: dict[str, str] = {}
    for upstream in folders:
        inputs |= outputs_of(upstream) | record_of(upstream)
    asked = study.scale.search.model_dump()
    with recording(folder, "choose", asked, inputs, paths.FILES["choose"]) as made:
        records = [files.read_json(upstream / "record.json")["made"] for upstream in folders]
        found = [
            {"setting": record["setting"]} | {key: record["selection"][key] for key in ("accuracy", "loss")}
            for record in records
        ]
        chosen = best(found)
        files.write_json(
            folder / "choice.json", {"trials": found, "chosen": chosen, "setting": found[chosen]["setting"]}
        )
        made |= {"trials": len(found), "chosen": chosen, "setting": found[chosen]["setting"]}
