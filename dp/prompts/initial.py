"""How the vectors of a prompt begin."""

from typing import Protocol

import torch
from torch import Tensor

from dp.errors import UserError
from dp.numerics import seeds
from dp.prompts.prompt_config import Init


class TableRows(Protocol):
    """What a backbone reads for each id of its vocabulary: a table [V, H], or what yields its rows when asked."""

    @property
    def shape(self) -> torch.Size: ...

    def __getitem__(self, ids: Tensor) -> Tensor:
        """ids [N] -> [N, H]."""


def initial_vectors(count: int, init: Init, vocabulary: TableRows, label_words: list[int], seed: int) -> Tensor:
    """[count, H], float32, from the vocabulary [V, H]; see `Init`.

    vocabulary: its first rows, as the released code. uniform: uniform(-bound, bound), as the released code: absolute,
    whatever the size of the backbone's embeddings. sampled: distinct rows among the first `common`. label_words: the
    rows of `label_words`, then sampled ones (Lester et al. 2021). Raises UserError where there are too few rows.
    """
    rows, hidden = vocabulary.shape
    generator = seeds.generator(seed, "prompt initialisation")
    if init.kind == "uniform":
        return torch.empty(count, hidden).uniform_(-init.bound, init.bound, generator=generator)
    common = rows if init.kind == "vocabulary" else min(init.common, rows)
    if common < count:
        raise UserError(
            f"prompt.init {init.kind}: {count} vectors need as many rows of the vocabulary table, and {common} are "
            "there; shorten prompt.length or prompt.pool, or choose uniform."
        )
    match init.kind:
        case "vocabulary":
            chosen = torch.arange(count)
        case "sampled":
            chosen = torch.randperm(common, generator=generator)[:count]
        case "label_words":
            words = torch.tensor(list(dict.fromkeys(label_words)), dtype=torch.long)
            drawn = torch.randperm(common, generator=generator)
            drawn = drawn[~torch.isin(drawn, words)]
            chosen = torch.cat([words, drawn])[:count]
        case _:
            raise AssertionError(init.kind)
    return vocabulary[chosen].detach().float().clone()
