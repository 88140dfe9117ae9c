"""A soft prompt is position x length x representation, joined by `compose` (design section 4)."""

from typing import Any

from torch import Tensor, nn

from dp import seeds
from dp.prompts.choice import Chosen, Moment
from dp.prompts.compose import Composed, compose
from dp.prompts.positions import Position
from dp.prompts.representations import Single, initial_vectors


class SoftPrompt(nn.Module):
    """The tuned parameters of a prompted variant."""

    def __init__(self, representation: nn.Module, position: Position) -> None:
        super().__init__()
        self.representation = representation
        self.position = position

    def forward(
        self, x: Tensor, mask: Tensor, tail: int, feature: Tensor | None, moment: Moment
    ) -> tuple[Composed, Chosen]:
        """x: [B, T, H], mask: [B, T], feature: [B, H] or None -> X' [B, P+T, H] with its mask, and the split."""
        chosen = self.position(feature, moment)
        vectors = self.representation(len(x))
        return compose(vectors, chosen.candidate, x, mask, tail, chosen.weights), chosen


def build(definition: dict[str, Any], prompt: dict[str, Any], vocabulary: Tensor, seed: int) -> SoftPrompt:
    """A prompt from a variant's definition and the scale's `prompt` parameters. vocabulary: [V, H].

    Raises ValueError where the vocabulary table has fewer rows than the prompt.
    """
    length, init = prompt["length"], prompt["init"]
    if init["kind"] == "vocabulary" and len(vocabulary) < length:
        raise ValueError(f"prompt.length {length} exceeds the {len(vocabulary)} rows of the vocabulary table")
    vectors = initial_vectors(
        init["kind"], init["bound"], length, vocabulary, seeds.generator(seed, "prompt initialisation")
    )
    hidden = vocabulary.shape[1]
    position = Position(definition["position"], length, hidden, seeds.generator(seed, "position initialisation"))
    return SoftPrompt(Single(vectors), position)
