"""The vocabulary as a backbone reads it: its embedding module's output, which may be more than a row of its table."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Vocabulary:
    """Rows by id of a table [V, H] that is never made whole. Gemma's are its table's times sqrt(H)."""

    def __init__(self, embed: Callable[[Tensor], Tensor], table: nn.Embedding, hidden: int) -> None:
        self._embed, self._device = embed, table.weight.device
        self.shape = torch.Size((table.num_embeddings, hidden))

    @torch.no_grad()
    def __getitem__(self, ids: Tensor) -> Tensor:
        """ids [N] -> [N, H], on the CPU, in the backbone's own dtype."""
        return self._embed(ids[None].to(self._device))[0].cpu()
