"""Several starts of one training, of which the one that is ahead after a few updates goes on.

Where a prompt begins and what is drawn first can leave it where no gradient leads to the question (docs/planted.md).
Every variant has as many starts, and held-out rows alone choose, also where the run reports its best look at others.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dp import files
from dp.classifier.classifier import Classifier
from dp.errors import UserError
from dp.numerics import seeds
from dp.training.loop import Rows, evaluated, means, train
from dp.training.loop_config import LoopConfig
from dp.training.overflow import STATUS
from dp.training.state import State
from dp.training.trials import best

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
    held_out: list[Rows],
    config: LoopConfig,
    run: Path,
    identity: Callable[[int], str],
) -> Started:
    """The best of `starts` after `start_steps` updates of the whole schedule: accuracy, then loss, then the earliest.

    Its state is left in `run`, where the training of its seed and identity resumes from it; what a stopped call has of
    a start is taken over. build, identity: by seed, the untrained classifier and a training's identity. The first start
    has the run's own seed. held_out: what chooses; `selection` itself, unless a run selects on other rows. A start that
    ended in an overflow is the one that goes on, and ends the run so. Raises as `train`.
    """
    budget = config.training
    if budget.starts == 1:
        return Started(config.seed, {})
    found = []
    for number in range(budget.starts):
        seed = config.seed if number == 0 else seeds.derive(config.seed, "start", number)
        own, folder = config.model_copy(update={"seed": seed}), run / FOLDER / str(number)
        told = _told(folder, identity(seed))
        if told is None:
            model = build(seed)
            outcome = _tried(model, train_rows, selection, own, folder, identity(seed), run)
            accuracy, loss = outcome["selection"]["accuracy"], outcome["selection"]["loss"]
            if accuracy is not None and held_out is not selection:
                accuracy, loss = means(evaluated(model, held_out, own, budget.start_steps))
            told = {"seed": seed, "steps": outcome["steps"], "seconds": outcome["step_seconds"],
                    "accuracy": accuracy, "loss": loss, "status": outcome.get("status")}  # fmt: skip
            files.write_json(folder / "start.json", {"identity": identity(seed), "told": told})
        found.append(told)
    overflowed = [number for number, one in enumerate(found) if one["status"] == STATUS]
    chosen = overflowed[0] if overflowed else best(found)
    State(run / FOLDER / str(chosen), identity(found[chosen]["seed"])).move_to(run)
    others = [one for number, one in enumerate(found) if number != chosen]
    facts = {
        "start": chosen,
        "starts": [{key: one[key] for key in ("seed", "accuracy", "loss")} for one in found],
        "other_starts": {"steps": sum(one["steps"] for one in others),
                         "seconds": round(sum(one["seconds"] for one in others), 3)},
    }  # fmt: skip
    return Started(found[chosen]["seed"], facts)


def forget(run: Path) -> None:
    """Once the run is complete."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def _tried(
    model: Classifier, rows: Rows, selection: list[Rows], config: LoopConfig, folder: Path, identity: str, run: Path
) -> dict[str, Any]:
    """One start; where it fails, the run's folder says why."""
    try:
        return train(model, rows, selection, config, folder, identity, until=config.training.start_steps)
    except UserError:
        if (folder / "failure.json").exists():
            (folder / "failure.json").replace(run / "failure.json")
        raise


def _told(folder: Path, identity: str) -> dict[str, Any] | None:
    try:
        written = files.read_json(folder / "start.json")
        told: dict[str, Any] = written["told"]
        return told if written["identity"] == identity else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
