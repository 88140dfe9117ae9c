"""The learning curves of a cell, small enough that a page can hold thousands of them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from dp.results import steps
from dp.results.runs import Run

POINTS = 30
"""Of one line, at most."""
ACCURACIES = 100
"""Of all runs of a cell together, about."""


def of(members: list[Run], number: Callable[[tuple[int, ...]], int]) -> dict[str, Any] | None:
    """accuracy: [steps, percent] of each run; picked: [step, percent] of each run; loss: [steps, means over runs].

    Steps are a `number`, since most curves of a scale have the same. A run that overflowed before its first evaluation
    has no line. None where no update was made.
    """
    trained = [run for run in members if run.training]
    if not any(steps.losses(run) for run in trained):
        return None
    accuracies = [[(step, round(100 * accuracy, 2)) for step, accuracy in steps.evaluations(run)] for run in trained]
    most = max(2, min(POINTS, ACCURACIES // len(trained)))
    picked = [run.trained["made"]["selected_step"] for run in trained if run.trained]  # None: it overflowed
    by_step: dict[int, list[float]] = {}
    for run in trained:
        for step, loss in steps.binned(steps.losses(run), POINTS):
            by_step.setdefault(step, []).append(loss)
    return {
        "accuracy": [[number(tuple(steps)), [round(value, 1) for value in values]]
                     for points in accuracies if points for steps, values in [_axes(_thinned(points, most))]],
        "picked": [[step, dict(points)[step]] for step, points in zip(picked, accuracies, strict=True)
                   if step is not None],
        "loss": [number(tuple(sorted(by_step))), [float(f"{np.mean(by_step[step]):.3g}") for step in sorted(by_step)]],
    }  # fmt: skip


def _thinned(points: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """At most so many, evenly, with the first and the last."""
    if len(points) <= most:
        return points
    return [points[round(n * (len(points) - 1) / (most - 1))] for n in range(most)]


def _axes(points: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
