"""Rows of two splits that say nearly the same: what is reported on them is no evidence about other texts."""

from collections.abc import Sequence

ALIKE = 0.5
"""Share of two texts' distinct words that both have, from which on they count as near copies (Jaccard's index)."""
MOST = 1000
"""Texts of a split that are compared, spread over all there are."""


def near_copies(train: Sequence[str], reported: Sequence[str]) -> tuple[int, int]:
    """How many of the reported texts have a near copy in train, and how many were looked at."""
    words = [_words(text) for text in _spread(train)]
    looked_at = [_words(text) for text in _spread(reported)]
    return sum(any(_alike(own, other) for other in words) for own in looked_at), len(looked_at)


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    both = len(one & other)
    return both >= ALIKE * (len(one) + len(other) - both)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.strip(".,;:!?\"'()").lower() for word in text.split())


def _spread(texts: Sequence[str]) -> Sequence[str]:
    return texts if len(texts) <= MOST else [texts[len(texts) * number // MOST] for number in range(MOST)]
