"""Several starts of one training, of which the one that is ahead after a few updates goes on.

Where a prompt begins and what is drawn first can leave it where no gradient leads to the question (docs/planted.md).
Every variant has as many starts, and the selection rows alone choose.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dp import files
from dp.classifier.classifier import Classifier
from dp.numerics import seeds
from dp.training.loop import Rows, train
from dp.training.loop_config import LoopConfig

FOLDER = "starts"
"""Beside a run's outputs while it is trained."""


class Started(NamedTuple):
    """seed: what the training goes on with. facts: for its record; none where there is one start."""

    seed: int
    facts: dict[str, Any]


def started(
    build: Callable[[int], Classifier],
    train_rows: Rows,
    selection: list[Rows],
    config: LoopConfig,
    run: Path,
    identity: str,
) -> Started:
    """The best of `starts` after `start_steps` updates of the whole schedule: accuracy, then loss, then the earliest.

    build: seed -> the untrained classifier. The first start has the run's own seed. What a stopped call has of a start
    of the same identity is taken over. Raises as `train`.
    """
    budget, found = config.training, []
    if budget.starts == 1:
        return Started(config.seed, {})
    for number in range(budget.starts):
        seed = config.seed if number == 0 else seeds.derive(config.seed, "start", number)
        folder = run / FOLDER / str(number)
        told = _told(folder, identity)
        if told is None:
            own = config.model_copy(update={"seed": seed})
            outcome = train(build(seed), train_rows, selection, own, folder, identity, until=budget.start_steps)
            told = {"seed": seed, "seconds": outcome["step_seconds"], **outcome["selection"]}
            files.write_json(folder / "start.json", {"identity": identity, "told": told})
        found.append(told)
    best = min(range(len(found)), key=lambda n: (-(found[n]["accuracy"] or 0.0), found[n]["loss"] or 0.0, n))
    facts = {
        "start": best,
        "starts": [{key: one[key] for key in ("seed", "accuracy", "loss")} for one in found],
        "start_seconds": round(sum(one["seconds"] for one in found), 3),
    }
    return Started(found[best]["seed"], facts)


def forget(run: Path) -> None:
    """Once the run is complete."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def _told(folder: Path, identity: str) -> dict[str, Any] | None:
    try:
        written = files.read_json(folder / "start.json")
        told: dict[str, Any] = written["told"]
        return told if written["identity"] == identity else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
