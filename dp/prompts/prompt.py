"""A soft prompt is position x length x representation, joined by `compose` (design section 4)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dp.numerics import seeds
from dp.numerics.sequence import Sequence, masked_mean
from dp.prompts.choice import Moment, Standard, logits_of
from dp.prompts.compose import compose
from dp.prompts.estimators import ESTIMATORS
from dp.prompts.initial import TableRows, initial_vectors
from dp.prompts.policy import Length, Policy, Position
from dp.prompts.prompt_config import Prompt, PromptConfig
from dp.prompts.released import FILLER
from dp.prompts.representations import Mixture, Pool, Residual, Single


class Choices(NamedTuple):
    """What a prompt chose for each row."""

    split: Tensor  # [B]
    length: Tensor | None  # [B]; None: all P vectors
    pool: Tensor | None  # [B, K], weights of the pool's prompts
    log_prob: Tensor | None = None  # [B], of all that was drawn for a row; None: nothing, or by straight-through
    entropy: Tensor | None = None  # [B], summed over its choices


class SoftPrompt(nn.Module):
    """The tuned parameters of a prompted variant. `copies` is how often training has each row in a batch."""

    def __init__(
        self,
        representation: nn.Module,
        position: Position,
        length: Length | None,
        rotate: bool,
        fillers: bool,
        standard: Standard | None = None,
        copies: int = 1,
    ) -> None:
        super().__init__()
        self.representation, self.position, self.length, self.standard = representation, position, length, standard
        self.rotate, self.fillers, self.copies = rotate, fillers, copies

    def forward(
        self, x: Tensor, mask: Tensor, tails: Tensor, feature: Tensor | None, tasks: Tensor, moment: Moment
    ) -> tuple[Sequence, Choices]:
        """x: [B, T, H], mask: [B, T], tails: [B], feature: [B, H] or None, tasks: [B] -> X' and what was chosen."""
        if feature is not None and self.standard:
            feature = self.standard(feature)
        vectors, pool = self.representation(feature, tasks, masked_mean(x, mask), moment)
        placed = self.position(feature, tasks, moment)
        kept = self.length(feature, tasks, moment) if self.length else None
        gate = kept.gate if kept else None
        if self.fillers and gate is not None:
            vectors, gate = vectors * gate[..., None] + FILLER * (1 - gate[..., None]), None
        sequence = compose(vectors, placed.candidate, x, mask, tails, placed.weights, gate, self.rotate)
        drawn = [chosen for chosen in (placed, kept and kept.chosen) if chosen and chosen.log_prob is not None]
        return sequence, Choices(
            split=placed.candidate,
            length=kept.chosen.candidate if kept else None,
            pool=pool,
            log_prob=_sum([chosen.log_prob for chosen in drawn]),
            entropy=_sum([chosen.entropy for chosen in drawn]),
        )


def _sum(parts: list[Any]) -> Tensor | None:
    return torch.stack(parts).sum(0) if parts else None


def build(config: PromptConfig, vocabulary: TableRows, label_words: list[int], tasks: int) -> SoftPrompt:
    """The prompt of a configuration, which has one.

    vocabulary: [V, H], as the backbone reads it. label_words: vocabulary ids, for the initialisation of that name.
    tasks: how many tasks share the prompt. Raises UserError where the vocabulary has too few rows.
    """
    assert config.prompt is not None
    length, hidden, switches, drawn = config.prompt.length, vocabulary.shape[1], config.switches, config.drawn

    def policy(factor: str) -> Policy | None:
        kind, untrained = config.chosen_by(factor), "frozen_choice" in switches
        if kind is None:
            return None
        generator = seeds.generator(config.seed, f"{factor} initialisation")
        relu = kind == "instance" and f"relu_{factor}_logits" in switches
        stride = (length + 1) ** drawn.index(factor) if factor in drawn else 1
        frozen, random = untrained or factor in config.learned, untrained or "random_logits" in switches
        return Policy(kind, length + 1, tasks, hidden, generator, frozen, relu, config.estimator, stride, random,
                      "backwards" in switches)  # fmt: skip

    copies = 1
    if drawn and config.choice:
        copies = ESTIMATORS[config.estimator].copies((length + 1) ** len(drawn), config.choice.samples)
    lengths, representation = policy("length"), config.definition.representation
    kinds = [config.chosen_by(factor) for factor in ("position", "length")]
    reads = "instance" in kinds or representation == "instance_pool"
    return SoftPrompt(
        _representation(representation, config.prompt, config, vocabulary, label_words, tasks),
        Position(config.definition.position, length, policy("position")),
        Length(length, lengths) if lengths else None,
        rotate="rotation" in switches,
        fillers="fillers" in switches,
        standard=Standard(hidden) if reads and "raw_feature" not in switches else None,
        copies=copies,
    )


def _representation(
    kind: str, prompt: Prompt, config: PromptConfig, vocabulary: TableRows, label_words: list[int], tasks: int
) -> nn.Module:
    length, hidden = prompt.length, vocabulary.shape[1]
    size = prompt.pool if kind in ("task_pool", "instance_pool", "mixture") else 1
    initial = initial_vectors(size * length, prompt.init, vocabulary, label_words, config.seed)
    generator = seeds.generator(config.seed, "representation initialisation")
    match kind:
        case "single":
            return Single(initial)
        case "residual":
            return Residual(initial, prompt.bottleneck, generator)
        case "mixture":
            return Mixture(initial.view(size, length, hidden), generator)
        case _:
            of = kind.removesuffix("_pool")
            scores = logits_of(of, tasks, hidden, size, generator, "random_logits" in config.switches)
            return Pool(initial.view(size, length, hidden), scores, "tanh_pool_scores" in config.switches)
