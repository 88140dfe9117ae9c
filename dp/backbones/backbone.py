"""What a family of backbones says of itself, and what its backbones do."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from dp.backbones.names import Family
from dp.numerics.sequence import Sequence


class Vocabulary:
    """Rows by id of a table [V, H] that is never made whole: what the embedding module gives, Gemma's times sqrt(H)."""

    def __init__(self, embed: Callable[[Tensor], Tensor], table: nn.Embedding, hidden: int) -> None:
        self._embed, self._device = embed, table.weight.device
        self.shape = torch.Size((table.num_embeddings, hidden))

    @torch.no_grad()
    def __getitem__(self, ids: Tensor) -> Tensor:
        """ids [N] -> [N, H], on the CPU, in the backbone's own dtype."""
        return self._embed(ids[None].to(self._device))[0].cpu()


class Backbone(ABC):
    """A transformers model that reads embeddings. A family is a subclass in a file of its own, named in families.py."""

    # The family, which needs no weights
    family: ClassVar[Family]
    auto: ClassVar[Any]
    """transformers' class of the model with its output layer over the vocabulary."""
    model_types: ClassVar[tuple[str, ...] | None] = None
    """Kinds of transformers models that it may be; None: whatever is laid out alike."""
    gguf: ClassVar[bool] = False
    """Whether a GGUF file may hold it."""
    projections: ClassVar[tuple[str, ...]]
    """What its layers call the projections of queries and values."""
    depths: ClassVar[tuple[str, ...]] = ("num_hidden_layers",)
    """Keys of its config that count layers."""
    ending: ClassVar[int]
    """Special tokens that its tokenizers put behind a text."""
    special: ClassVar[dict[str, Any]]
    """Of its word-level tokenizer (dp/worlds/random_weights.py): special tokens by name, in the order of their ids."""
    texts: ClassVar[tuple[str, str] | None] = None
    """Of the same: what a text $A and a pair $A, $B become; None: themselves."""
    tiny: ClassVar[dict[str, Any]]
    """Keywords of its config that make the model of the tests."""

    # One backbone
    model: Any
    tokenizer: PreTrainedTokenizerBase
    hidden_size: int
    self_attentions: list[nn.Module]
    key_value_shape: tuple[int, int]
    """Heads and width of the keys and values of a self-attention."""
    max_positions: int | None = None
    """Size of the table of positions, where there is one."""

    @abstractmethod
    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None: ...

    @classmethod
    def output(cls, head: str) -> tuple[Any, dict[str, Any]]:
        """transformers' class of the model with the output layer that a head reads and no other, and its keywords."""
        return cls.auto, {}

    @classmethod
    def pretrained(cls, folder: Path, head: str, **options: Any) -> Any:
        """What transformers' from_pretrained gives."""
        auto, keywords = cls.output(head)
        return auto.from_pretrained(folder, **keywords, **options)

    @classmethod
    def drawn(cls, config: Any, head: str) -> Any:
        """A model of a transformers config with random weights."""
        auto, keywords = cls.output(head)
        return auto.from_config(config, **keywords)

    @classmethod
    def special_ids(cls, tokenizer: Any) -> dict[str, int | None]:
        """What the config of a model with random weights says of its tokenizer."""
        return {name: getattr(tokenizer, name) for name in ("pad_token_id", "eos_token_id", "bos_token_id")}

    @staticmethod
    @abstractmethod
    def read(tokenizer: Any, head: str, shared: list[int]) -> tuple[list[int], list[int]]:
        """Pieces that are read before a class is scored, beside the text: by a decoder, and behind the text.

        shared: what all choices of a row begin with. Raises UserError where the tokenizer lacks what is read there.
        """

    @property
    def reader(self) -> nn.Module:
        """The part of the model that reads the input."""
        return self.model.base_model

    @abstractmethod
    def logits(self, ids: Tensor) -> Tensor:
        """The whole model's own logits [B, V] for ids [B, T], where the classes are scored."""

    def embed(self, ids: Tensor) -> Tensor:
        """[B, T] -> [B, T, H]: the words' part, to which a model with a table of positions adds them."""
        return self.model.get_input_embeddings()(ids)

    @property
    def vocabulary(self) -> Vocabulary:
        """The words as the model reads them, scaled or projected where its embedding does that."""
        return Vocabulary(self.embed, self.model.get_input_embeddings(), self.hidden_size)

    @abstractmethod
    def hidden(self, sequence: Sequence) -> Tensor:
        """Last hidden states [B, N, H] of what reads the input."""

    @abstractmethod
    def state(self, sequence: Sequence, head: str, answers: Tensor | None = None) -> Tensor:
        """What a head reads: [B, H], float32. answers: [B, A], right-padded with -1, for a decoder; None: none."""

    @abstractmethod
    def word_scores(self, state: Tensor, outputs: Tensor) -> Tensor:
        """Logits [B, C] of the vocabulary ids `outputs` [B, C]; -inf where the id is -1."""


def word_scores(state: Tensor, head: Any, outputs: Tensor) -> Tensor:
    """[B, C]: the outputs [B, C] of a linear head, by row; -inf where an output is -1. state: [B, H], float32.

    In float32 whatever the backbone: bfloat16 would round a logit of 20 to steps of 1/8.
    """
    rows = outputs.clamp(min=0)
    scores = (head.weight[rows].float() @ state[..., None]).squeeze(2)
    if head.bias is not None:
        scores = scores + head.bias[rows].float()
    return scores.masked_fill(outputs < 0, float("-inf"))
