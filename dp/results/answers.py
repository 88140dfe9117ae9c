"""Which examples each run got right, side by side for runs that report the same examples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dp.errors import UserError
from dp.results.runs import Run


class Answers(NamedTuple):
    """Of one run, in the order of its predictions."""

    run: Run
    ids: list[str]
    clusters: list[str]
    right: NDArray[np.float64]  # [N], 1 or 0


def answers(runs: Sequence[Run]) -> list[Answers]:
    """Of runs of one task. Raises UserError where two report different examples."""
    found = [_read(run) for run in runs]
    for one in found[1:]:
        if (one.ids, one.clusters) != (found[0].ids, found[0].clusters):
            raise UserError(
                f"{one.run.folder}/predictions.jsonl and {found[0].run.folder}/predictions.jsonl do not hold the same "
                "examples in the same order, so the runs cannot be compared example by example. Evaluate both again."
            )
    return found


def right(found: Sequence[Answers]) -> NDArray[np.float64]:
    """[S, N]."""
    return np.stack([one.right for one in found])


def cluster_numbers(found: Sequence[Answers]) -> NDArray[np.int_]:
    """[N], each example's cluster, counted from 0."""
    return np.unique(np.array(found[0].clusters), return_inverse=True)[1]


def _read(run: Run) -> Answers:
    lines = run.predictions()
    right = np.array([float(line["gold"] == line["prediction"]) for line in lines])
    return Answers(run, [line["id"] for line in lines], [line["cluster"] for line in lines], right)
