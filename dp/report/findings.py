"""What a report says, as rows: each list is one CSV file of the report."""

from dataclasses import dataclass, field
from typing import Any

from dp.paper import verdicts as claims
from dp.results import aggregates, best_of_many, chosen, comparisons, null_task, predicted, prices, separation, table
from dp.results.runs import Run
from dp.results.separation import Separation
from dp.results.table import Row
from dp.study.study import Study

CSV = {
    "results": table,
    "choices": chosen,
    "claims": claims,
    "comparisons": comparisons,
    "aggregates": aggregates,
    "optimism": best_of_many,
    "prices": prices,
}
OF_PREDICTIONS = {"predictions": predicted, "null_task": null_task, "planted_choices": separation}
"""Name of each CSV, which is the attribute of Findings that holds its rows -> the module that has its columns. The last
three: only where a scale names predictions."""


@dataclass(frozen=True)
class Findings:
    """The rows that tables, figures and pages are made from; each verdict is reached here, once."""

    study: Study
    runs: list[Run]
    results: list[Row]
    choices: list[Row]
    claims: list[Row]
    comparisons: list[Row]
    aggregates: list[Row]
    optimism: list[Row]
    prices: list[Row]
    predictions: list[Row] = field(default_factory=list)
    null_task: list[Row] = field(default_factory=list)
    planted_choices: list[Row] = field(default_factory=list)
    separations: list[Separation] = field(default_factory=list)

    @property
    def csv(self) -> dict[str, tuple[tuple[str, ...], list[Row]]]:
        """Name of each CSV -> its columns and rows."""
        modules = CSV | (OF_PREDICTIONS if self.study.predictions else {})
        return {name: (module.COLUMNS, getattr(self, name)) for name, module in modules.items()}


def find(study: Study, runs: list[Run]) -> Findings:
    """Everything that the report says about the runs of a study."""
    rows: dict[str, Any] = {name: module.rows(study, runs) for name, module in CSV.items()}
    if study.predictions:
        separations = list(separation.separations(study, runs))
        rows |= {"predictions": predicted.rows(study, runs), "null_task": null_task.rows(study, runs),
                 "planted_choices": separation.rows(separations), "separations": separations}  # fmt: skip
    return Findings(study, runs, **rows)
