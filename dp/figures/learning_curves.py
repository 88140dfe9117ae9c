"""Training loss and selection accuracy by step, with the steps that selection picked."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dp import files
from dp.evaluation.findings import Findings
from dp.evaluation.runs import Run
from dp.evaluation.table import digests, group, labels
from dp.figures import style
from dp.variants import Control

COLUMNS = ("backbone", "regime", "k", "task", "variant", "quantity", "step", "value", "seeds", "labels", "runs")
POINTS = 50


def data(found: Findings) -> list[dict[str, Any]]:
    """Rows of quantity loss and accuracy (means over runs) and selected (one per run, on the mean accuracy).

    The loss is averaged over bins of consecutive steps, at most 50 of them, and stands at the last step of its bin.
    """
    rows = []
    for (backbone, regime, k, task, variant), members in group(found.runs).items():
        if isinstance(found.study.params.variants[variant], Control):
            continue
        logs = [files.read_jsonl(run.training / "steps.jsonl") for run in members if run.training]
        if not logs:
            continue
        losses = [{line["step"]: line["loss"] for line in log if "loss" in line} for log in logs]
        accuracies = [
            {line["step"]: _accuracy(run, line["selection"]) for line in log if "selection" in line}
            for run, log in zip(members, logs, strict=True)
        ]
        picked = [run.trained["made"]["selected_step"] for run in members if run.trained]
        points = [("loss", *point) for point in _binned(_mean(losses))]
        accuracy = dict(_mean(accuracies))
        points += [("accuracy", *point) for point in accuracy.items()]
        points += [("selected", step, accuracy[step]) for step in picked]
        setting = {"backbone": backbone, "regime": regime, "k": k, "task": task, "variant": variant}
        about = {"seeds": len(members), "labels": ";".join(labels(members)), "runs": digests(members)}
        rows += [setting | about | {"quantity": what, "step": step, "value": value} for what, step, value in points]
    return rows


def _accuracy(run: Run, selection: dict[str, Any]) -> float:
    """Of the task itself where a run selects by the mean over tasks."""
    if "by_task" not in selection:
        return selection["accuracy"]
    assert run.trained is not None
    return selection["by_task"][run.trained["asked"]["multitask"]["tasks"].index(run.cell.task)]


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No variant of this scale is trained.")
    variants, tasks, settings = style.unique(rows, "variant"), style.tasks(rows), style.settings(rows)
    figure, grid = style.panels(rows, 2, 2.1, 1.5, sharex="col", sharey="row")
    drawn: dict[str, Any] = {}
    for number, setting in enumerate(settings):
        for task, above, below in zip(tasks, grid[2 * number], grid[2 * number + 1], strict=True):
            for n, variant in enumerate(variants):
                of = {what: _points(style.where(rows, setting, task=task, variant=variant, quantity=what))
                      for what in ("loss", "accuracy", "selected")}  # fmt: skip
                look: dict[str, Any] = style.line(n)
                above.plot(*of["loss"], linewidth=1, **look)
                (drawn[variant],) = below.plot(*of["accuracy"], linewidth=1, **look)
                below.plot(*of["selected"], "o", color=look["color"], markerfacecolor="white", markersize=4.5)
    for axes in grid[-1]:
        axes.set_xlabel("step")
    names = [f"{style.setting_name(setting)}\n{what}" for setting in settings
             for what in ("training loss", "selection accuracy")]  # fmt: skip
    style.name_rows_and_columns(grid, tasks, names)
    figure.legend(drawn.values(), drawn.keys(), loc="outside upper center", ncols=min(6, len(drawn)), handlelength=3)
    text = (
        "Lines are means over runs; the loss is averaged over neighbouring steps. A circle on a line: a step that "
        "selection picked in one of its runs."
    )
    style.caption(figure, rows, text)
    return figure


def _mean(runs: list[dict[int, float]]) -> list[tuple[int, float]]:
    """(step, mean over the runs that logged it), by step."""
    steps = sorted(set().union(*runs))
    return [(step, float(np.mean([run[step] for run in runs if step in run]))) for step in steps]


def _binned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most POINTS bins of equally many consecutive points (the last may be shorter): (last step, mean)."""
    size = -(-len(points) // POINTS) or 1
    bins = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], float(np.mean([value for _, value in part]))) for part in bins]


def _points(rows: style.Rows) -> tuple[list[int], list[float]]:
    return [int(row["step"]) for row in rows], [float(row["value"]) for row in rows]
