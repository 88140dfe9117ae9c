"""What a report says, as rows: each list is one CSV file of the report."""

from dataclasses import dataclass

from dp.paper import verdicts as claims
from dp.results import aggregates, choices, comparisons, optimism, prices, table
from dp.results.runs import Run
from dp.results.table import Row
from dp.study.study import Study

CSV = {
    "results": table,
    "choices": choices,
    "claims": claims,
    "comparisons": comparisons,
    "aggregates": aggregates,
    "optimism": optimism,
    "prices": prices,
}
"""Name of each CSV, which is the attribute of Findings that holds its rows -> the module that has its columns."""


@dataclass(frozen=True)
class Findings:
    """The rows that tables, figures and pages are made from."""

    study: Study
    runs: list[Run]
    results: list[Row]
    choices: list[Row]
    claims: list[Row]
    comparisons: list[Row]
    aggregates: list[Row]
    optimism: list[Row]
    prices: list[Row]


def find(study: Study, runs: list[Run]) -> Findings:
    """Everything that the report says about the runs of a study."""
    return Findings(study=study, runs=runs, **{name: module.rows(study, runs) for name, module in CSV.items()})
