"""Protocols are sets of switches: what the paper's released code did, each usable alone (paper.md sections 1 and 2).

The ReLUs are of the networks that read an instance: a task's free logits pass none, there and here.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

Switch = Literal[
    "straight_through",
    "raw_feature",
    "padded_feature",
    "relu_position_logits",
    "relu_length_logits",
    "tanh_pool_scores",
    "random_logits",
    "uniform_pools",
    "gumbel_at_evaluation",
    "draw_by_four",
    "rotation",
    "select_on_reported",
    "dropout",
    "update_every_micro_batch",
    "clip_once_a_step",
    "warmup_from_zero",
    "plain_shuffling",
    "padded_inputs",
    "fillers",
    "prompt_beside_finetuning",
    "short_schedule",
    "truncate_as_released",
]

MEANING: dict[str, str] = {
    "straight_through": "choices are learned by straight-through Gumbel-Softmax",
    "raw_feature": "the instance feature is read as it is, not standardised over the training rows",
    "padded_feature": "the instance feature is the mean over all max_tokens positions, padding included",
    "relu_position_logits": "an instance's position logits pass through a ReLU",
    "relu_length_logits": "an instance's length logits pass through a ReLU",
    "tanh_pool_scores": "pool scores pass through a tanh (by protocol: unless the position is learned too)",
    "random_logits": "a task's logits begin at U(-0.5, 0.5), the bias of an instance's at U(+-1/sqrt(H)), not at 0",
    "uniform_pools": "a pool begins at U(-0.5, 0.5) (by protocol: where the position is learned too)",
    "gumbel_at_evaluation": "choices are drawn at evaluation as in training, not the argmax",
    "draw_by_four": "where a task's choice is drawn at evaluation, every four rows in the data's order share a draw",
    "rotation": "the vectors behind the input are the head of the prompt: [p_j+1..p_P; x; p_1..p_j]",
    "select_on_reported": "the best of all evaluations on the reported split is kept and reported",
    "dropout": "the frozen backbone's dropout is on in training",
    "update_every_micro_batch": "every micro-batch is an update (by protocol: unless the position alone is learned)",
    "clip_once_a_step": "clip_norm bounds the sum of a step's micro-batches; where each is an update, every last one's",
    "warmup_from_zero": "the rate of a warm-up's update s, from 0, is s / warmup_steps of the full one: the first is 0",
    "plain_shuffling": "training rows are shuffled plainly, not sorted by length within a window",
    "padded_inputs": "inputs are padded to max_tokens",
    "fillers": "vectors that a learned length drops become -1e20 and stay visible",
    "prompt_beside_finetuning": "fine-tuning tunes a prompt too, by the scale's own optimizer, and no embeddings",
    "short_schedule": "a linear schedule ends after as many updates as there are nominal steps; the rate stays 0",
    "truncate_as_released": "long inputs lose pieces of the fields that the released code cuts (by protocol alone)",
}


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
