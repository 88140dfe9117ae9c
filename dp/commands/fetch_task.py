"""fetch-task: the canonical rows of one task, from the study's source."""

import argparse

from dp import files, paths
from dp.commands import common
from dp.data.counts import label_counts
from dp.jobs.project import project_inputs
from dp.jobs.record import recording
from dp.sources import rows as fetch
from dp.sources.cache import staging
from dp.study import grid
from dp.tasks import model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True)


def run(arguments: argparse.Namespace) -> None:
    """Write train.jsonl, validation.jsonl and record.json. Raises UserError where rows cannot be had or are wrong."""
    study = common.catalogue(arguments)
    path = model.file_of(arguments.task)
    inputs = project_inputs("fetch-task", arguments.task)
    task = model.read(path)
    definition = fetch.source_of(task, study.source).model_dump()
    asked = grid.rows_config(study, task.name) | {"version": task.version, "definition": definition}
    folder = paths.task_rows(task.name, study.source)
    with recording(folder, "fetch-task", asked, inputs, paths.FILES["fetch-task"]) as made:
        rows, facts = fetch.fetch(task, study.source, study.params.folder)
        with staging(folder) as aside:
            for split in ("train", "validation"):
                files.write_jsonl(aside / f"{split}.jsonl", rows[split])
        inputs |= facts["files"]
        made |= facts | {
            "labels": task.labels,
            "rows": {split: len(found) for split, found in rows.items()},
            "label_counts": {split: label_counts(found, len(task.label_names)) for split, found in rows.items()},
        }
