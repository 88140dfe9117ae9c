"""Protocols are sets of switches: what the paper's released code did, each usable alone (paper.md sections 1 and 2).

Three more break a choice on purpose, so that a report can be seen to fail it (docs/planted.md): `backwards`, its
gradient's sign is flipped; `shuffled_feature`, it reads another row's feature; `frozen_choice`, it stays as it began,
at random.

The ReLUs are of the networks that read an instance: a task's free logits pass none, there and here.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Switch = Literal[
    "straight_through", "raw_feature", "padded_feature", "relu_position_logits", "relu_length_logits",
    "tanh_pool_scores", "random_logits", "uniform_pools", "gumbel_at_evaluation", "draw_by_four", "rotation",
    "select_on_reported", "dropout", "update_every_micro_batch", "clip_once_a_step", "warmup_from_zero",
    "plain_shuffling", "padded_inputs", "fillers", "prompt_beside_finetuning", "short_schedule",
    "truncate_as_released", "backwards", "shuffled_feature", "frozen_choice",
]  # fmt: skip
BROKEN: tuple[Switch, ...] = ("backwards", "shuffled_feature", "frozen_choice")


def is_pool(representation: str) -> bool:
    """Whether prompts are weighed by a softmax: what the released code calls a pool."""
    return representation in ("task_pool", "instance_pool")


def in_force(protocol: Iterable[str], own: Iterable[str], definition: Mapping[str, Any]) -> list[str]:
    """The switches of one run: those a variant names itself, and those of its protocol that its method had there.

    The released drivers differ (paper.md sections 1 and 2): a tanh only where the pool is all that is learned, a
    uniform pool only where the position is learned too, one update per micro-batch wherever anything but the position
    alone is learned; and fine-tuning alone has a linear schedule.
    """
    position, representation = definition.get("position"), definition.get("representation", "single")
    learns_position = position in ("task", "instance") or isinstance(position, dict)  # a dict: learned by another run
    learns_else = representation != "single" or definition.get("length") in ("task", "instance")
    not_theirs = set()
    if not (learns_position and is_pool(representation)):
        not_theirs.add("uniform_pools")
    if definition.get("baseline") != "finetune":
        not_theirs |= {"prompt_beside_finetuning", "short_schedule"}
    if learns_position:
        not_theirs.add("tanh_pool_scores")
        if not learns_else:
            not_theirs.add("update_every_micro_batch")
    return sorted({*own, *(set(protocol) - not_theirs)})
