"""Trials of a search: a setting (axis -> value) in a resolved configuration, and the best of several."""

from copy import deepcopy
from typing import Any

AXES: dict[str, tuple[str, ...]] = {
    "lr_factor": ("training", "optimizer", "lr"),
    "pool": ("prompt", "pool"),
    "anneal": ("choice", "temperature", "anneal"),
}
"""Axis -> the key of a resolved configuration; lr_factor multiplies the variant's own rate, the others replace."""


def applied(config: dict[str, Any], setting: dict[str, Any]) -> dict[str, Any]:
    """A resolved configuration with one trial's setting in it."""
    config = deepcopy(config)
    for axis, value in setting.items():
        *path, key = AXES[axis]
        part = config
        for name in path:
            part = part[name]
        part[key] = part[key] * value if axis == "lr_factor" else value
    return config


def best(trials: list[dict[str, Any]]) -> int:
    """The trial with the highest selection accuracy, then the lowest selection loss, then the earliest.

    trials: {"accuracy", "loss"} of the selection split, in order; both None of one that ended in no number, which is
    chosen only where all did, since every seed will then do so too.
    """

    def rank(i: int) -> tuple[bool, float, float, int]:
        accuracy, loss = trials[i]["accuracy"], trials[i]["loss"]
        return (True, 0.0, 0.0, i) if accuracy is None else (False, -accuracy, loss, i)

    return min(range(len(trials)), key=rank)
