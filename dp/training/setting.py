"""A setting that a search tried: values of a resolved configuration, by axis."""

from typing import Any

AXES: dict[str, tuple[str, ...]] = {
    "lr_factor": ("training", "optimizer", "lr"),
    "pool": ("prompt", "pool"),
    "anneal": ("choice", "temperature", "anneal"),
}
"""Axis -> the key of a resolved configuration; lr_factor multiplies the variant's own rate, the others replace."""


def applied(config: dict[str, Any], setting: dict[str, Any]) -> dict[str, Any]:
    """A resolved configuration with one trial's setting in it."""
    for axis, value in setting.items():
        path = AXES[axis]
        old: Any = config
        for key in path:
            old = old[key]
        config = _replaced(config, path, old * value if axis == "lr_factor" else value)
    return config


def _replaced(config: dict[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    head, *rest = path
    return config | {head: _replaced(config[head], tuple(rest), value) if rest else value}
