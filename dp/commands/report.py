"""`dp report`: the one table, the tables to read and the figures of a scale."""

import argparse

from dp import files, paths
from dp.commands import common
from dp.evaluation import choices, markdown, runs, table
from dp.figures import accuracy_by_variant, chosen_splits, learning_curves, style
from dp.grid import cells, report_config
from dp.lineage.record import recording

FIGURES = {
    "accuracy_by_variant": accuracy_by_variant,
    "chosen_splits": chosen_splits,
    "learning_curves": learning_curves,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The scale is all that a report depends on."""


def run(arguments: argparse.Namespace) -> None:
    """Write results.csv, choices.csv, results.md, figures/ and record.json of a scale; raises as `runs.read` does."""
    study = common.study(arguments)
    folder = paths.report(study.scale_name)
    found = runs.read(study)
    read = sorted({path for cell in cells(study) for path in runs.sources(study, cell)})
    drawings = [f"figures/{name}.{kind}" for name in FIGURES for kind in ("csv", "svg", "png")]
    outputs = ["results.csv", "choices.csv", "results.md", *drawings]
    with recording(
        folder, "report", report_config(study), {str(path): files.sha256(path) for path in read}, outputs
    ) as made:
        rows = table.rows(study, found)
        files.write_text(folder / "results.csv", table.to_csv(table.COLUMNS, rows))
        files.write_text(folder / "choices.csv", table.to_csv(choices.COLUMNS, choices.rows(study, found)))
        files.write_text(folder / "results.md", markdown.document(study, rows, found, FIGURES))
        for name, figure in FIGURES.items():
            data = folder / "figures" / f"{name}.csv"
            files.write_text(data, table.to_csv(figure.COLUMNS, figure.data(study, rows, found)))
            style.save(data, figure.draw)
        made |= {"runs": len(found), "rows": len(rows)}
