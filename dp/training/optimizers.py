"""Optimizers and learning-rate schedules."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers.optimization import Adafactor


class Scheduled(NamedTuple):
    optimizer: torch.optim.Optimizer
    settings: dict[str, Any]


def optimizers(trained: dict[str, nn.Parameter], training: dict[str, Any]) -> list[Scheduled]:
    """The one optimizer of a run; that of a prompt beside a tuned backbone (prompt_optimizer) comes last."""
    own = training.get("prompt_optimizer")
    parts = [({name: value for name, value in trained.items() if not (own and name.startswith("prompt."))},
              training["optimizer"])]  # fmt: skip
    if own:
        parts.append(({name: value for name, value in trained.items() if name.startswith("prompt.")}, own))
    return [Scheduled(optimizer(part.values(), settings), settings) for part, settings in parts]


def optimizer(parameters: Iterable[nn.Parameter], config: dict[str, Any]) -> torch.optim.Optimizer:
    """Adafactor as in the paper (no parameter scaling, no relative step, no warm-up of its own), or AdamW."""
    if config["name"] == "adamw":
        return torch.optim.AdamW(parameters, lr=config["lr"], weight_decay=config["weight_decay"], foreach=False)
    return Adafactor(parameters, lr=config["lr"], weight_decay=config["weight_decay"],
                     scale_parameter=False, relative_step=False, warmup_init=False)  # fmt: skip


def learning_rate(step: int, steps: int, config: dict[str, Any], from_zero: bool = False) -> float:
    """The rate of update `step` (0-based): linear warm-up, then constant, or linear to 0 after `steps` updates.

    The warm-up begins at 1 / warmup_steps of the full rate, or `from_zero`.
    """
    warmup = config["warmup_steps"]
    factor = min(1.0, (step + (not from_zero)) / warmup) if warmup else 1.0
    if config["schedule"] == "linear" and step >= warmup:
        factor = (steps - step) / (steps - warmup) if step < steps else 0.0
    return config["lr"] * factor
