"""Rows, tables, figures and pages of a scale, all from its evaluations."""

import shutil
from pathlib import Path
from typing import Any

from dp import files
from dp.jobs.made import Made
from dp.report import checklist, findings, metrics_json, predictions_page, results_page
from dp.report.figures import all_figures as drawings
from dp.report.figures import style
from dp.report.page.build import document
from dp.report.tables import all_tables
from dp.results import jobs, runs, table
from dp.results.groups import grouped
from dp.study.contents import FIGURES, OF_PREDICTIONS, figures
from dp.study.resolve import parameters
from dp.study.study import Study


def report(study: Study, folder: Path) -> dict[str, Any]:
    """Write the files named in dp/study/contents.py, and return their facts; raises as `runs.read` does."""
    read, made_before = runs.read(study), jobs.read(study)
    found = findings.find(study, read)
    texts = {
        "results.md": results_page.document(study, found.results, found.comparisons, read, FIGURES),
        "reproducibility.md": checklist.document(study, found.results, read, made_before),
    }
    texts |= {f"{name}.csv": table.to_csv(*of_table) for name, of_table in found.csv.items()}
    for one in all_tables.tables(found):
        texts |= all_tables.texts(one)
    if study.predictions:
        texts["predictions.md"] = predictions_page.document(found, OF_PREDICTIONS)
    for name, text in texts.items():
        files.write_text(folder / name, text)
    shutil.rmtree(folder / "metrics", ignore_errors=True)  # an earlier report may have had other rows
    for name, numbers in metrics_json.numbers(found).items():
        files.write_json(folder / name, {key: round(value, 6) for key, value in numbers.items()})
    for name in figures(study):
        figure, data = drawings.ALL[name], folder / "figures" / f"{name}.csv"
        files.write_text(data, table.to_csv(figure.COLUMNS, figure.data(found)))
        style.save(data, figure.draw)
    files.write_text(folder / "report.html", document(found, folder, made_before))
    return {"runs": len(read), "rows": len(found.results)} | _made_by(study, made_before)


def _made_by(study: Study, before: list[Made]) -> dict[str, object]:
    """The parameters of all jobs before the report as one digest, and the digests of the code that each command ran."""
    ran = grouped(before, lambda job: job.command)
    code = {command: sorted({job.code for job in members}) for command, members in ran.items()}
    return {"parameters": parameters(study), "code": code}
