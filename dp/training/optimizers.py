"""Optimizers and learning-rate schedules."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import nn
from transformers.optimization import Adafactor

from dp.training.loop_config import Optimizer, RunBudget


class Scheduled(NamedTuple):
    optimizer: torch.optim.Optimizer
    settings: Optimizer


def optimizers(trained: dict[str, nn.Parameter], budget: RunBudget) -> list[Scheduled]:
    """The one optimizer of a run; that of a prompt beside a tuned backbone (prompt_optimizer) comes last."""
    own = budget.prompt_optimizer
    parts = [({name: value for name, value in trained.items() if not (own and name.startswith("prompt."))},
              budget.optimizer)]  # fmt: skip
    if own:
        parts.append(({name: value for name, value in trained.items() if name.startswith("prompt.")}, own))
    return [Scheduled(optimizer(part.values(), settings), settings) for part, settings in parts]


def optimizer(parameters: Iterable[nn.Parameter], settings: Optimizer) -> torch.optim.Optimizer:
    """Adafactor as in the paper (no parameter scaling, no relative step, no warm-up of its own), or AdamW."""
    if settings.name == "adamw":
        return torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay, foreach=False)
    return Adafactor(parameters, lr=settings.lr, weight_decay=settings.weight_decay,
                     scale_parameter=False, relative_step=False, warmup_init=False)  # fmt: skip


def learning_rate(step: int, steps: int, settings: Optimizer, from_zero: bool = False) -> float:
    """The rate of update `step` (0-based): linear warm-up, then constant, or linear to 0 after `steps` updates.

    The warm-up begins at 1 / warmup_steps of the full rate, or `from_zero`.
    """
    warmup = settings.warmup_steps
    factor = min(1.0, (step + (not from_zero)) / warmup) if warmup else 1.0
    if settings.schedule == "linear" and step >= warmup:
        factor = (steps - step) / (steps - warmup) if step < steps else 0.0
    return settings.lr * factor
