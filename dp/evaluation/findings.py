"""What a report says, as rows: each list is one CSV file of the report."""

from dataclasses import dataclass

from dp.evaluation import choices, table
from dp.evaluation.runs import Run
from dp.evaluation.table import Row
from dp.study import Study


@dataclass(frozen=True)
class Findings:
    """The rows that tables, figures and pages are made from."""

    study: Study
    runs: list[Run]
    results: list[Row]
    choices: list[Row]


def find(study: Study, runs: list[Run]) -> Findings:
    """Everything that the report says about the runs of a study."""
    return Findings(study=study, runs=runs, results=table.rows(study, runs), choices=choices.rows(study, runs))
