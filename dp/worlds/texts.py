"""Instructed texts of the planted world, as its pre-training reads them."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from dp.worlds import planted


class Texts(NamedTuple):
    ids: Tensor  # [B, T], right-padded with 0
    labels: Tensor  # [B], 1 is yes


def instructed(
    tokenizer: Any, count: int, reach: int, generator: torch.Generator, lengths: range = planted.LENGTHS
) -> Texts:
    """Texts of random words, as many as `lengths` says, with an instruction at one end that asks about a word up to
    `reach` from there."""

    def draw(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high, (count, *shape), generator=generator)

    length, longest = draw(lengths.start, lengths.stop), lengths.stop - 1
    words = draw(0, len(planted.WORDS), longest)
    feature, distance, behind = draw(0, planted.FEATURES), draw(1, reach + 1), draw(0, 2)
    asked = torch.where(behind == 1, length - distance, distance - 1)
    labels = words.gather(1, asked[:, None])[:, 0] >> feature & 1

    first = {kind: tokenizer.convert_tokens_to_ids(names[0])
             for kind, names in {"word": planted.WORDS, "instruction": planted.INSTRUCTIONS}.items()}  # fmt: skip
    times = planted.REACH + 1 - distance  # as planted.times
    place = torch.arange(longest + planted.REACH + 1)
    start = torch.where(behind == 1, 0, times)[:, None]  # of the words
    end = start + length[:, None]
    total = (length + times)[:, None]
    ids = first["word"] + words.gather(1, (place - start).clamp(0, longest - 1))
    ids = torch.where((place < start) | (place >= end), first["instruction"] + feature[:, None], ids)
    ids = torch.where(place == total, tokenizer.eos_token_id, ids)
    return Texts(torch.where(place > total, 0, ids), labels)
