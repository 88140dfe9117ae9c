"""`dp report`: the one table, the tables to read and the figures of a scale."""

import argparse

from dp import files, paths
from dp.commands import common
from dp.evaluation import (
    checklist,
    choices,
    findings,
    jobs,
    markdown,
    predictions_page,
    runs,
    separation,
    table,
    verdicts,
)
from dp.evaluation.findings import Findings
from dp.figures import accuracy_by_variant, chosen_splits, learning_curves, planted_choices, predictions, style
from dp.lineage.published import parameters
from dp.lineage.record import recording
from dp.report import figures, report_config, report_files

FIGURES = {
    "accuracy_by_variant": accuracy_by_variant,
    "chosen_splits": chosen_splits,
    "learning_curves": learning_curves,
}
OF_PREDICTIONS = {"predictions": predictions, "planted_choices": planted_choices}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The scale is all that a report depends on."""


def run(arguments: argparse.Namespace) -> None:
    """Write the tables, pages, figures/ and record.json of a scale; raises as `runs.read` does."""
    study = common.study(arguments)
    folder = paths.report(study.scale_name)
    read = runs.read(study)
    inputs = {str(path): files.sha256(path) for path in runs.inputs(study)}
    with recording(folder, "report", report_config(study), inputs, report_files(study)) as made:
        found = findings.find(study, read)
        made_jobs = jobs.read(study)
        texts = {
            "results.csv": table.to_csv(table.COLUMNS, found.results),
            "choices.csv": table.to_csv(choices.COLUMNS, found.choices),
            "results.md": markdown.document(study, found.results, read, FIGURES),
            "reproducibility.md": checklist.document(study, found.results, read, made_jobs),
        }
        if study.predictions:
            texts |= _predictions(found)
        for name, text in texts.items():
            files.write_text(folder / name, text)
        for name in figures(study):
            figure = (FIGURES | OF_PREDICTIONS)[name]
            data = folder / "figures" / f"{name}.csv"
            files.write_text(data, table.to_csv(figure.COLUMNS, figure.data(found)))
            style.save(data, figure.draw)
        made |= {"runs": len(read), "rows": len(found.results), "parameters": parameters(study)}
        made |= {"code": {name: sorted({job.said("used", "code") for job in of}) for name, of in
                          jobs.grouped(made_jobs, lambda job: job.command).items()}}  # fmt: skip


def _predictions(found: Findings) -> dict[str, str]:
    study, read = found.study, found.runs
    judged, null = verdicts.rows(study, read), verdicts.null_rows(study, read)
    chosen = separation.rows(study, read)
    return {
        "predictions.csv": table.to_csv(verdicts.COLUMNS, judged),
        "null_task.csv": table.to_csv(verdicts.NULL_COLUMNS, null),
        "planted_choices.csv": table.to_csv(separation.COLUMNS, chosen),
        "predictions.md": predictions_page.document(study, judged, null, chosen, OF_PREDICTIONS),
    }
