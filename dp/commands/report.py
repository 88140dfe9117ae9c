"""`dp report`: rows, tables, figures and pages of a scale, all from its evaluations."""

import argparse

from dp import files, paths
from dp.commands import common
from dp.jobs.project import project_inputs
from dp.jobs.record import recording
from dp.lineage.published import parameters
from dp.report import findings
from dp.report.figures import every as drawings
from dp.report.figures import style
from dp.report.findings import Findings
from dp.report.page.build import document
from dp.report.pages import checklist, markdown, predictions_page
from dp.report.tables import every, render
from dp.results import jobs, runs, separation, table, verdicts
from dp.study.report import FIGURES, OF_PREDICTIONS, figures, report_config, report_files
from dp.study.study import Study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The scale is all that a report depends on."""


def run(arguments: argparse.Namespace) -> None:
    """Write the files named in dp/study/report.py and record.json; raises as `runs.read` does."""
    study = common.study(arguments)
    folder = paths.report(study.scale_name)
    inputs = project_inputs("report")
    read, made_before = runs.read(study), jobs.read(study)
    inputs |= {str(path): files.sha256(path) for path in runs.inputs(study)}
    with recording(folder, "report", report_config(study), inputs, report_files(study)) as made:
        found = findings.find(study, read)
        texts = {
            "results.md": markdown.document(study, found.results, read, FIGURES),
            "reproducibility.md": checklist.document(study, found.results, read, made_before),
        }
        texts |= {f"{name}.csv": table.to_csv(module.COLUMNS, getattr(found, name))
                  for name, module in findings.CSV.items()}  # fmt: skip
        for one in every.tables(found):
            texts |= render.texts(one)
        if study.predictions:
            texts |= _predictions(found)
        for name, text in texts.items():
            files.write_text(folder / name, text)
        for name in figures(study):
            figure, data = drawings.ALL[name], folder / "figures" / f"{name}.csv"
            files.write_text(data, table.to_csv(figure.COLUMNS, figure.data(found)))
            style.save(data, figure.draw)
        files.write_text(folder / "report.html", document(found, folder, made_before))
        made |= {"runs": len(read), "rows": len(found.results)} | _made_by(study, made_before)


def _made_by(study: Study, before: list[jobs.Job]) -> dict[str, object]:
    """The parameters of all jobs before the report as one digest, and the digests of the code that each command ran."""
    ran = jobs.grouped(before, lambda job: job.command)
    code = {command: sorted({job.said("used", "code") for job in members}) for command, members in ran.items()}
    return {"parameters": parameters(study), "code": code}


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
