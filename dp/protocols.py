"""Protocols are sets of switches: what the paper's released code did, each usable alone (paper.md sections 1 and 2).

A task's free logits begin at 0, where a ReLU has no slope: they would never move, so relu_position_logits leaves them.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Switch = Literal[
    "straight_through",
    "raw_feature",
    "padded_feature",
    "relu_position_logits",
    "tanh_pool_scores",
    "gumbel_at_evaluation",
    "rotation",
    "select_on_reported",
    "dropout",
    "update_every_micro_batch",
    "padded_inputs",
    "fillers",
]

MEANING: dict[str, str] = {
    "straight_through": "choices are learned by straight-through Gumbel-Softmax",
    "raw_feature": "the instance feature is read as it is, not standardised over the training rows",
    "padded_feature": "the instance feature is the mean over all max_tokens positions, padding included",
    "relu_position_logits": "an instance's position logits pass through a ReLU",
    "tanh_pool_scores": "pool scores pass through a tanh (by protocol: unless the position is learned too)",
    "gumbel_at_evaluation": "choices are drawn at evaluation as in training, not the argmax",
    "rotation": "the vectors behind the input are the head of the prompt: [p_j+1..p_P; x; p_1..p_j]",
    "select_on_reported": "the best of all evaluations on the reported split is kept and reported",
    "dropout": "the frozen backbone's dropout is on in training",
    "update_every_micro_batch": "every micro-batch is an update (by protocol: unless the position alone is learned)",
    "padded_inputs": "inputs are padded to max_tokens",
    "fillers": "vectors that a learned length drops become -1e20 and stay visible",
}
FILLER = -1e20


def input_width(config: Mapping[str, Any]) -> int | None:
    """Positions that a run's inputs are padded to (padded_inputs); None: each batch to its own longest row."""
    return config["max_tokens"] if "padded_inputs" in config["switches"] else None


def learns_through_fillers(config: Mapping[str, Any]) -> bool:
    """Whether a run's gradient passes fillers, which overflows float32 (dp/training/overflow.py).

    They stand for what a learned length drops, and the choice is learned by straight-through, as the paper's was.
    """
    straight = config["choice"] is not None and config["choice"]["estimator"] == "straight_through"
    return "fillers" in config["switches"] and straight and config["definition"].get("length") in ("task", "instance")


def in_force(protocol: Iterable[str], own: Iterable[str], definition: Mapping[str, Any]) -> list[str]:
    """The switches of one run: those a variant names itself, and those of its protocol that its method had there.

    The released drivers differ (paper.md sections 1 and 2): a tanh only where the pool is all that is learned, one
    update per micro-batch wherever anything but the position alone is learned.
    """
    position = definition.get("position")
    learns_position = position in ("task", "instance") or isinstance(position, dict)  # a dict: learned by another run
    learns_else = definition.get("representation", "single") != "single" or definition.get("length") in (
        "task",
        "instance",
    )
    not_theirs = set()
    if learns_position:
        not_theirs.add("tanh_pool_scores")
        if not learns_else:
            not_theirs.add("update_every_micro_batch")
    return sorted({*own, *(set(protocol) - not_theirs)})
