"""A run that ends in a status and not in a number: under `fillers` the gradient is the fillers' (paper.md section 1).

A filler of -1e20 sends gradients of 1e13 to 1e20 to what chooses the length. Their norm leaves float32, or is so large
that clipping to it leaves nothing of the prompt's own gradient, so what comes out is no measurement of a method.
"""

import math
from collections.abc import Mapping
from typing import Any

from dp.classifier.classifier import Classifier
from dp.prompts.prompt_config import PromptConfig
from dp.training.state import tensors_of

STATUS = "overflow"
"""`made.status` in the records of such a training and of its evaluations, and the label of their numbers' places."""
LARGEST = 1e15
"""A norm above which a gradient of 1, clipped with it, is lost: its square is below the 1e-30 that Adafactor adds."""


def learns_through_fillers(config: PromptConfig) -> bool:
    """Whether a run's gradient passes fillers, which overflows float32.

    They stand for what a learned length drops, and the choice is learned by straight-through, as the paper's was.
    """
    straight = config.choice is not None and config.choice.estimator == "straight_through"
    return "fillers" in config.switches and straight and "length" in config.drawn


def why(loss: float, norm: float) -> str | None:
    """What is no longer a number, of a run under acting fillers. loss, norm: of one update, before clipping."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    return None if norm < LARGEST else f"the norm of the gradient is {norm:.3g}"


def ended(update: int, of: int, reason: str) -> dict[str, Any]:
    """Facts for the record of a training whose update, counted from 1, was not made."""
    text = f"{reason} at update {update:,} of {of:,}: the gradient of the fillers of -1e20 overflows float32"
    return {"status": STATUS, "steps": update - 1, "overflow": {"update": update, "why": text}}


def inherited(classifier: Classifier, source: Mapping[str, Any]) -> dict[str, Any]:
    """Facts and tensors of a training that was to start from the choice of a run that ended so: it makes no update."""
    tuned = sum(parameter.numel() for parameter in classifier.trained().values())
    no_selection = {"rule": "none: nothing was trained", "rows": 0, "accuracy": None, "loss": None}
    return {
        "tensors": tensors_of(classifier.kept()), "status": STATUS, "steps": 0, "step_seconds": 0.0,
        "tokens_per_second": None, "examples_per_second": None, "selected_step": None, "selection": no_selection,
        "trainable_parameters": tuned, "backbone_frozen": True, "forward_passes_per_row": classifier.copies,
        "overflow": {"update": 0, "why": f"the run whose choice it was to start from: {source['overflow']['why']}"},
    }  # fmt: skip


def of(made: Mapping[str, Any]) -> dict[str, Any] | None:
    """The facts that `ended` gave the `made` of a record; None where the job ended in numbers."""
    return {key: made[key] for key in ("status", "overflow")} if made.get("status") == STATUS else None
