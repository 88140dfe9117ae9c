"""What the report of a scale consists of, and what decides it."""

from typing import Any

from dp.data.regime import Regime
from dp.jobs.job import Cell
from dp.study.grid import cells
from dp.study.study import Study

ROWS = ("results", "choices", "claims", "comparisons", "aggregates", "optimism", "prices")
PREDICTED = ("predictions", "null_task", "planted_choices")
TABLES = ("A_position", "B_length", "C_prompt", "fewshot", "multitask", "cost", "protocol")
FIGURES = (
    "paper_comparison", "gain_over_fixed", "accuracy_by_variant", "fewshot_curves", "chosen_splits", "chosen_lengths",
    "split_by_input_length", "pool_weights", "learning_curves", "optimism", "cost",
)  # fmt: skip
OF_PREDICTIONS = ("predictions", "planted_choices")


def report_config(study: Study) -> dict[str, Any]:
    """What decides the tables and figures besides the runs themselves."""
    models = {name: model for name in study.scale.backbones if (model := study.params.model_of(name)) != name}
    return {"scale": study.scale_name, "source": study.source, "allow_dirty": study.params.allow_dirty,
            "runs": [cell.run for cell in cells(study)], **({"models": models} if models else {}),
            **({"tasks": study.tasks} if study.part_of_tasks else {}),
            "predictions": study.predictions.model_dump(mode="json") if study.predictions else None}  # fmt: skip


def report_files(study: Study) -> list[str]:
    """What a report consists of besides its record."""
    pages = ["report.html", "results.md", "reproducibility.md"]
    summary = ["predictions.md"] if study.predictions else []
    rows = [*ROWS, *(PREDICTED if study.predictions else ())]
    tables = [f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "md", "tex")]
    drawn = [f"figures/{name}.{kind}" for name in figures(study) for kind in ("csv", "svg", "png")]
    return [*pages, *(f"{name}.csv" for name in rows), *metrics_files(study), *summary, *tables, *drawn]


def figures(study: Study) -> list[str]:
    """Names of the figures of a report."""
    return [*FIGURES, *(OF_PREDICTIONS if study.predictions else ())]


def metrics_files(study: Study) -> list[str]:
    """One for each row of results.csv about accuracy."""

    def of(cell: Cell) -> str:
        regime = Regime.parse(cell.regime).of_any_sample
        return metrics_file(study.params.model_of(cell.backbone), str(regime), cell.task, cell.variant)

    return list(dict.fromkeys(map(of, cells(study))))


def metrics_file(model: str, regime: str, task: str, variant: str) -> str:
    """regime: of any sample, as `fewshot-k8`."""
    return f"metrics/{model}/{regime}/{task}/{variant}.json"
