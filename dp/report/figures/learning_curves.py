from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dp.report.figures import bundles, style
from dp.report.findings import Findings
from dp.results import steps
from dp.results.groups import by_row
from dp.results.table import OVERFLOW, made_from

ABOUT = "Training loss and selection accuracy by step, with the steps that selection picked."
COLUMNS = ("backbone", "regime", "k", "task", "variant", "quantity", "step", "value", "seeds", "labels", "runs")
POINTS = 50
MOST = 5
"""Backbones and regimes; logs are long, so those of others are not read."""
LEFT_OUT = "left out"


def data(found: Findings) -> list[dict[str, Any]]:
    """Rows of quantity loss and accuracy (means over runs) and selected (one per run, on the mean accuracy).

    The loss is averaged over bins of consecutive steps, at most 50 of them, and stands at the last step of its bin. Of
    a long log every n-th is read (dp/results/steps.py).
    Quantity `overflow`, without value: the update that a run did not make since its gradient overflowed.
    Quantity `left out`, without step and value: a cell whose curves are not read, since there are more than 5 backbones
    and regimes.
    """
    rows: list[dict[str, Any]] = []
    cells = by_row(run for run in found.runs if not found.study.is_control(run.cell.variant))
    trained = {key: members for key, members in cells.items() if any(run.training for run in members)}
    keys = [{"backbone": key.backbone, "regime": key.regime, "k": str(key.k or "")} for key in trained]
    drawn = style.settings(style.fewer(keys, MOST)[0])
    for key, members in trained.items():
        about = key._asdict() | {"seeds": len(members)} | made_from(members)
        if (key.backbone, key.regime, str(key.k or "")) not in drawn:
            rows.append(about | {"quantity": LEFT_OUT, "step": None, "value": None})
            continue
        losses = [dict(steps.losses(run)) for run in members]
        accuracies = [dict(steps.evaluations(run)) for run in members]
        picked = [run.trained["made"]["selected_step"] for run in members if run.trained and not run.overflow]
        points = [("loss", *point) for point in steps.binned(_mean(losses), POINTS)]
        accuracy = dict(_mean(accuracies))
        points += [("accuracy", *point) for point in accuracy.items()]
        points += [("selected", step, accuracy[step]) for step in picked]
        ended = [run.trained["made"]["overflow"]["update"] for run in members if run.overflow and run.trained]
        rows += [about | {"quantity": what, "step": step, "value": value} for what, step, value in points]
        rows += [about | {"quantity": OVERFLOW, "step": update, "value": None} for update in ended]
    return rows


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No variant of this scale is trained.")
    left_out = style.fewer(rows, MOST)[1].replace(", but in the CSV", "")
    without = [row for row in rows if row["quantity"] == OVERFLOW]
    rows = [row for row in rows if row["quantity"] not in (LEFT_OUT, OVERFLOW)]
    if not rows:
        return style.only_words(f"There is no curve to draw.{style.without_number(without)}")
    parts = list(bundles.parts(rows))
    lines = [
        line
        for part in parts
        for line in (
            style.Band(part.tasks, 1.1, part.header, 0.0),
            style.Band([""] * len(part.tasks), 1.1, below=0.5),
        )
    ]
    text = (
        "Lines are means over runs; the loss is averaged over neighbouring steps (every n-th, of long logs). A circle "
        "on a line: a step that selection picked in one of its runs. Grey: fixed. A backbone and regime with many "
        f"variants takes several pairs of lines; the vertical axis of a task is the same in all of them.{left_out}"
        f"{style.without_number(without)}"
    )
    right = style.label_width(style.unique(rows, "variant")) + 0.5
    figure, grid = style.page(rows, text, lines, 1.75, 0.85, right, between=0.42)
    cells = _by_cell(rows)
    for number, part in enumerate(parts):
        own = style.where(rows, part.setting)
        looks = {bundles.REFERENCE: style.REFERENCE} if bundles.REFERENCE in style.unique(own, "variant") else {}
        looks |= {variant: style.line(n) | {"linewidth": 1.1} for n, variant in enumerate(part.variants)}
        pair = grid[2 * number], grid[2 * number + 1]
        for task, above, below in zip(part.tasks, *pair, strict=True):
            for variant, look in looks.items():
                of = {what: cells.get((*part.setting, task, variant, what), ([], []))
                      for what in ("loss", "accuracy", "selected")}  # fmt: skip
                above.plot(*of["loss"], **look)
                below.plot(*of["accuracy"], **look)
                below.plot(*of["selected"], "o", color=look["color"], markerfacecolor="white", markersize=4)
            on_task = style.of(own, task=task)
            for axes, wanted in ((above, "loss"), (below, "accuracy")):
                values = [float(row["value"]) for row in on_task if row["quantity"] == wanted] or [0.0]
                axes.set_ylim(style.limits(values, 0.05, otherwise=0.02))
                axes.set_xlim(0, 1.04 * max(int(row["step"]) for row in on_task))
                axes.locator_params(nbins=4)
            above.set_xticklabels([])
            below.set_xlabel("step", labelpad=1)
        for line, name in zip(pair, ("training loss", "selection accuracy"), strict=True):
            line[0].set_ylabel(name)
        bundles.named(pair[0][-1], looks)
    return figure


def _by_cell(rows: style.Rows) -> dict[tuple[str, ...], tuple[list[int], list[float]]]:
    """Steps and values of each backbone, regime, k, task, variant and quantity."""
    found: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}
    for row in rows:
        steps, values = found.setdefault(tuple(row[key] for key in COLUMNS[:6]), ([], []))
        steps.append(int(row["step"]))
        values.append(float(row["value"]))
    return found


def _mean(runs: list[dict[int, float]]) -> list[tuple[int, float]]:
    """(step, mean over the runs that logged it), by step."""
    steps = sorted(set().union(*runs))
    return [(step, float(np.mean([run[step] for run in runs if step in run]))) for step in steps]
