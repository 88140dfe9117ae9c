"""What the report of a scale consists of, and what decides it."""

from typing import Any

from dp.grid import cells
from dp.study import Study


def report_config(study: Study) -> dict[str, Any]:
    """What decides the tables and figures besides the runs themselves."""
    return {"scale": study.scale_name, "source": study.source, "allow_dirty": study.params.allow_dirty,
            "runs": [cell.run for cell in cells(study)],
            "predictions": study.predictions.model_dump(mode="json") if study.predictions else None}  # fmt: skip


def report_files(study: Study) -> list[str]:
    """What a report consists of besides its record."""
    predicted = ["predictions.csv", "null_task.csv", "planted_choices.csv", "predictions.md"]
    drawn = [f"figures/{name}.{kind}" for name in figures(study) for kind in ("csv", "svg", "png")]
    always = ["results.csv", "choices.csv", "results.md", "reproducibility.md"]
    return [*always, *(predicted if study.predictions else []), *drawn]


def figures(study: Study) -> list[str]:
    """Names of the figures of a report."""
    of_predictions = ["predictions", "planted_choices"] if study.predictions else []
    return ["accuracy_by_variant", "chosen_splits", "learning_curves", *of_predictions]
