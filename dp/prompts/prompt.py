"""A soft prompt is position x length x representation, joined by `compose` (design section 4)."""

from typing import Any, NamedTuple

from torch import Tensor, nn

from dp import seeds
from dp.prompts.choice import InstanceLogits, Moment, Policy, TaskLogits
from dp.prompts.compose import compose
from dp.prompts.initial import initial_vectors
from dp.prompts.lengths import Length
from dp.prompts.mixture import Mixture
from dp.prompts.positions import Position
from dp.prompts.representations import Pool, Single
from dp.prompts.residual import Residual
from dp.protocols import FILLER
from dp.sequence import Sequence, masked_mean


class Choices(NamedTuple):
    """What a prompt chose for each row."""

    split: Tensor  # [B]
    length: Tensor | None  # [B]; None: all P vectors
    pool: Tensor | None  # [B, K], weights of the pool's prompts


class SoftPrompt(nn.Module):
    """The tuned parameters of a prompted variant."""

    def __init__(
        self, representation: nn.Module, position: Position, length: Length | None, rotate: bool, fillers: bool
    ) -> None:
        super().__init__()
        self.representation, self.position, self.length = representation, position, length
        self.rotate, self.fillers = rotate, fillers

    def forward(
        self, x: Tensor, mask: Tensor, tails: Tensor, feature: Tensor | None, tasks: Tensor, moment: Moment
    ) -> tuple[Sequence, Choices]:
        """x: [B, T, H], mask: [B, T], tails: [B], feature: [B, H] or None, tasks: [B] -> X' and what was chosen."""
        vectors, pool = self.representation(feature, tasks, masked_mean(x, mask), moment)
        split, weights = self.position(feature, tasks, moment)
        kept = self.length(feature, tasks, moment) if self.length else None
        gate = kept.gate if kept else None
        if self.fillers and gate is not None:
            vectors, gate = vectors * gate[..., None] + FILLER * (1 - gate[..., None]), None
        sequence = compose(vectors, split, x, mask, tails, weights, gate, self.rotate)
        return sequence, Choices(split, kept.length if kept else None, pool)


def build(
    definition: dict[str, Any],
    prompt: dict[str, Any],
    switches: list[str],
    vocabulary: Tensor,
    label_words: list[int],
    tasks: int,
    learned: dict[str, str],
    seed: int,
) -> SoftPrompt:
    """A prompt from a variant's definition, the scale's `prompt` parameters and the switches in force.

    vocabulary: [V, H]. label_words: vocabulary ids, for the initialisation of that name. tasks: how many tasks share
    the prompt. learned: factor -> `task` or `instance`, for choices that another run learned and this one keeps frozen.
    Raises UserError where the vocabulary table has too few rows.
    """
    length, hidden = prompt["length"], vocabulary.shape[1]

    def policy(factor: str) -> Policy | None:
        kind, frozen = learned.get(factor, definition[factor]), factor in learned
        if kind not in ("task", "instance"):
            return None
        generator = seeds.generator(seed, f"{factor} initialisation")
        relu = (factor, kind) == ("position", "instance") and "relu_position_logits" in switches
        return Policy(kind, length + 1, tasks, hidden, generator, frozen, relu)

    lengths = policy("length")
    return SoftPrompt(
        _representation(definition["representation"], prompt, switches, vocabulary, label_words, tasks, seed),
        Position(definition["position"], length, policy("position")),
        Length(length, lengths) if lengths else None,
        rotate="rotation" in switches,
        fillers="fillers" in switches,
    )


def _representation(
    kind: str,
    prompt: dict[str, Any],
    switches: list[str],
    vocabulary: Tensor,
    label_words: list[int],
    tasks: int,
    seed: int,
) -> nn.Module:
    length, hidden = prompt["length"], vocabulary.shape[1]
    prompts = size = prompt["pool"] if kind in ("task_pool", "instance_pool", "mixture") else 1
    initial = initial_vectors(prompts * length, prompt["init"], vocabulary, label_words, seed)
    generator = seeds.generator(seed, "representation initialisation")
    match kind:
        case "single":
            return Single(initial)
        case "residual":
            return Residual(initial, prompt["bottleneck"], generator)
        case "mixture":
            return Mixture(initial.view(size, length, hidden), generator)
        case _:
            logits = TaskLogits(tasks, size) if kind == "task_pool" else InstanceLogits(hidden, size, generator)
            return Pool(initial.view(size, length, hidden), logits, "tanh_pool_scores" in switches)
