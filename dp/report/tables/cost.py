"""What each variant costs to train, from the records of its trainings, beside what it reaches."""

from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import Any

from dp.report.findings import Findings
from dp.report.layout import Column, Group, Table, TableLine
from dp.report.tables.cells import COLLAPSED, Setting, accuracies, average, percent
from dp.results.labels import name_of, spelled_out
from dp.results.table import Row, seconds_of

FIELDS = ("backbone", "regime", "k", "task", "variant", "tasks", "trainings", "trainable", "steps", "seconds",
          "tokens_per_second", "examples_per_second", "peak_memory_mib", "gpu_peak_memory_mib", "mean", "low", "high",
          "labels", "runs")  # fmt: skip
UNKNOWN = "not recorded"


def table(found: Findings) -> Table:
    groups = []
    for setting, ran in _settings(found).items():
        lines = [
            TableLine((variant,), {"": _record(found, setting, variant, own)})
            for variant, own in ran.items()
            if not found.study.is_control(variant)
        ]
        groups.append(Group(name_of(setting), lines))
    rows = [line.records[""] for group in groups for line in group.lines]
    columns = [
        Column("trainable", lambda row: f"{row['trainable']:,}", "number"),
        Column("updates", lambda row: f"{row['steps']:,}", "number"),
        Column("seconds", lambda row: _trained(row, "seconds", 1), "number"),
        Column("tokens/s", lambda row: _trained(row, "tokens_per_second", 0), "number"),
        Column("examples/s", lambda row: _trained(row, "examples_per_second", 1), "number"),
        Column("memory, MiB", lambda row: _trained(row, "peak_memory_mib", 0), "number"),
        *([Column("GPU, MiB", _gpu, "number")] if any(row["on_gpu"] for row in rows) else []),
        Column("tasks", lambda row: str(row["tasks"]), "number"),
        Column("accuracy", partial(percent, found.study), "number"),
    ]
    notes = [
        "trainable: tuned parameters, the most of any training; updates: with those of all starts, and "
        "of the run whose choice it keeps.",
        "seconds: in training steps, all starts included, mean over trainings, evaluation apart; tokens and examples "
        "in a second: mean over trainings. memory: the most of any training's process.",
        "accuracy: in percent, the mean over as many tasks as the column before says: compare variants of the same "
        "tasks alone.",
        COLLAPSED,
        "Controls are left out: they show another variant's training. Empty: nothing is trained.",
        *_devices(found),
        *(f"{text}." for text in spelled_out(rows)),
    ]
    empty = "" if rows else f"Scale {found.study.scale_name} reports no accuracy, so no cost is set beside it."
    title = "Cost of training, and accuracy"
    return Table("cost", title, FIELDS, ("variant",), columns, groups, notes, empty)


def _settings(found: Findings) -> dict[Setting, dict[str, dict[str, Row]]]:
    """The full regime of each backbone; of a backbone that has none, all that there is."""
    cells = accuracies(found)
    return {of: ran for of, ran in cells.items() if of[1] == "full" or (of[0], "full", None) not in cells}


def _record(found: Findings, setting: Setting, variant: str, own: dict[str, Row]) -> Row:
    mean = average(found, own, list(own))
    assert mean
    backbone, regime, k = setting
    shown = {
        run.training: run.trained
        for run in found.runs
        if (run.model, run.regime, run.k, run.cell.variant) == (backbone, regime, k, variant) and run.trained
    }
    made = [record["made"] for record in shown.values()]
    devices = {record["with"].get("device", "cpu") for record in shown.values()}
    return mean | {
        "tasks": len(own),
        "trainings": len(shown),
        "trainable": max(row["trainable"] for row in own.values()),
        "steps": max(row["steps"] for row in own.values()),
        "seconds": fmean(map(seconds_of, shown.values())) if shown else None,
        "tokens_per_second": _over(made, "tokens_per_second", fmean),
        "examples_per_second": _over(made, "examples_per_second", fmean),
        "peak_memory_mib": _over(made, "peak_memory_mib", max),
        "gpu_peak_memory_mib": _over(made, "gpu_peak_memory_mib", max),
        "on_gpu": bool(devices - {"cpu"}),
    }


def _over(made: list[dict[str, Any]], fact: str, how: Callable[[list[Any]], Any]) -> Any:
    """A fact of all trainings; None where one of them does not hold it, or where there is none."""
    values = [one.get(fact) for one in made]
    return how(values) if values and None not in values else None


def _trained(row: Row, key: str, digits: int) -> str:
    if not row["trainings"]:
        return ""
    return UNKNOWN if row[key] is None else f"{row[key]:,.{digits}f}"


def _gpu(row: Row) -> str:
    return _trained(row, "gpu_peak_memory_mib", 0) if row["on_gpu"] or not row["trainings"] else "no GPU"


def _devices(found: Findings) -> list[str]:
    """Where it was trained: times of different machines do not compare."""
    names = sorted({str(run.trained["with"].get("device", UNKNOWN)) for run in found.runs if run.trained})
    return [f"Trained on: {', '.join(names)}. reproducibility.md names the machines."] if names else []
