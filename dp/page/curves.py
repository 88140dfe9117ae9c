"""The learning curves of a cell, small enough that a page can hold thousands of them."""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dp.evaluation.runs import Run

POINTS = 30
"""Of one line, at most."""
ACCURACIES = 100
"""Of all runs of a cell together, about."""
SAMPLES = 10
"""Logged losses that are averaged for one point, at most: logs are long, and most of them noise."""


class Log(NamedTuple):
    losses: list[tuple[int, float]]  # (last step of the bin, mean)
    selections: list[tuple[int, dict[str, Any]]]


def of(members: list[Run], number: Callable[[tuple[int, ...]], int]) -> dict[str, Any] | None:
    """accuracy: [steps, percent] of each run; picked: [step, percent] of each run; loss: [steps, means over runs].

    Steps are a `number`, since most curves of a scale have the same. None where nothing was trained.
    """
    trained = [run for run in members if run.training]
    if not trained:
        return None
    logs = [_log(run.training / "steps.jsonl") for run in trained if run.training]
    accuracies = [[(step, _percent(run, found)) for step, found in log.selections]
                  for run, log in zip(trained, logs, strict=True)]  # fmt: skip
    most = max(2, min(POINTS, ACCURACIES // len(trained)))
    picked = [run.trained["made"]["selected_step"] for run in trained if run.trained]
    by_step: dict[int, list[float]] = {}
    for log in logs:
        for step, loss in log.losses:
            by_step.setdefault(step, []).append(loss)
    return {
        "accuracy": [[number(tuple(steps)), [round(value, 1) for value in values]]
                     for points in accuracies for steps, values in [_axes(_thinned(points, most))]],
        "picked": [[step, dict(points)[step]] for step, points in zip(picked, accuracies, strict=True)],
        "loss": [number(tuple(sorted(by_step))), [float(f"{np.mean(by_step[step]):.3g}") for step in sorted(by_step)]],
    }  # fmt: skip


@lru_cache(maxsize=512)
def _log(path: Path) -> Log:
    """Of a union of tasks it is read once for all of them."""
    lines = path.read_bytes().splitlines()
    selections = [json.loads(line) for line in lines if b'"selection":' in line]
    updates = [line for line in lines if b'"loss":' in line and b'"selection":' not in line]
    size = -(-len(updates) // POINTS) or 1
    losses = []
    for start in range(0, len(updates), size):
        part = updates[start : start + size]
        found = [json.loads(line) for line in part[:: -(-len(part) // SAMPLES)]]
        losses.append((json.loads(part[-1])["step"], float(np.mean([line["loss"] for line in found]))))
    return Log(losses, [(line["step"], line["selection"]) for line in selections])


def _percent(run: Run, selection: dict[str, Any]) -> float:
    """Selection accuracy; of the task itself where a run selects by the mean over tasks."""
    accuracy = selection["accuracy"]
    if "by_task" in selection:
        assert run.trained is not None
        accuracy = selection["by_task"][run.trained["asked"]["multitask"]["tasks"].index(run.cell.task)]
    return round(100 * accuracy, 2)


def _thinned(points: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """At most so many, evenly, with the first and the last."""
    if len(points) <= most:
        return points
    return [points[round(n * (len(points) - 1) / (most - 1))] for n in range(most)]


def _axes(points: list[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]
