"""What the log of a training says: its evaluations on the way, and its losses."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from dp.results.outputs import Evaluation, Update, parsed
from dp.results.runs import Run

READ = 2500
"""Losses that are read of a log; of a longer one every n-th, so that the largest scale takes minutes, not hours."""


def evaluations(run: Run) -> list[tuple[int, float]]:
    """(step, accuracy) of each evaluation during training; of its own task where it selects by a mean of tasks."""
    return [(step, _own(run, found)) for step, found in _log(run)[0]]


def losses(run: Run) -> list[tuple[int, float]]:
    """(step, training loss), at most READ of them, evenly spaced."""
    return _log(run)[1]


def binned(points: list[tuple[int, float]], most: int) -> list[tuple[int, float]]:
    """At most so many bins of equally many consecutive points (the last may be shorter): (last step, mean)."""
    size = -(-len(points) // most) or 1
    bins = [points[start : start + size] for start in range(0, len(points), size)]
    return [(part[-1][0], float(np.mean([value for _, value in part]))) for part in bins]


def _log(run: Run) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, float]]]:
    assert run.training is not None
    path = (run.training / "steps.jsonl").resolve()
    facts = path.stat()
    return _read(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=512)
def _read(path: Path, modified: int, size: int) -> tuple[list[tuple[int, dict[str, Any]]], list[tuple[int, float]]]:
    """The runs of a union have one log for all tasks."""
    lines = list(enumerate(path.read_bytes().splitlines(), 1))
    found = [_parsed(path, *line, Evaluation) for line in lines if b'"selection":' in line[1]]
    updates = [line for line in lines if b'"loss":' in line[1] and b'"selection":' not in line[1]]
    every = -(-len(updates) // READ) or 1
    kept = [_parsed(path, *line, Update) for line in updates[::-every][::-1]]  # the last one among them
    return [(one["step"], one["selection"]) for one in found], [(one["step"], one["loss"]) for one in kept]


def _parsed(path: Path, number: int, line: bytes, model: type[Evaluation | Update]) -> dict[str, Any]:
    return parsed(line, model, f"{path}, line {number}")


def _own(run: Run, selection: dict[str, Any]) -> float:
    if "by_task" not in selection:
        return float(selection["accuracy"])
    assert run.trained is not None
    return float(selection["by_task"][run.trained["asked"]["multitask"]["tasks"].index(run.cell.task)])
