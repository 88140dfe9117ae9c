"""Optimizers and learning-rate schedules."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers.optimization import Adafactor


def optimizer(parameters: Iterable[nn.Parameter], config: dict[str, Any]) -> torch.optim.Optimizer:
    """Adafactor as in the paper (no parameter scaling, no relative step, no warm-up of its own), or AdamW."""
    if config["name"] == "adamw":
        return torch.optim.AdamW(parameters, lr=config["lr"], weight_decay=config["weight_decay"], foreach=False)
    return Adafactor(parameters, lr=config["lr"], weight_decay=config["weight_decay"],
                     scale_parameter=False, relative_step=False, warmup_init=False)  # fmt: skip


def learning_rate(step: int, steps: int, config: dict[str, Any]) -> float:
    """The rate of update `step` (0-based): linear warm-up, then constant, or linear to 0 after the last step."""
    warmup = config["warmup_steps"]
    factor = min(1.0, (step + 1) / warmup) if warmup else 1.0
    if config["schedule"] == "linear" and step >= warmup:
        factor = (steps - step) / (steps - warmup)
    return config["lr"] * factor
