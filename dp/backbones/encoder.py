"""Encoder backbones (BERT, RoBERTa, MiniLM): a linear head on the mean state, or label words at [MASK]."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForMaskedLM, PreTrainedTokenizerBase

from dp.backbones import attention
from dp.backbones.backbone import Backbone, word_scores
from dp.errors import UserError
from dp.numerics.sequence import Sequence, masked_mean


class Encoder(Backbone):
    """A BERT or RoBERTa, with or without its masked language model's head."""

    family = "encoder"
    auto = AutoModelForMaskedLM
    model_types = ("bert", "roberta", "xlm-roberta", "camembert")
    projections = ("query", "value")
    ending = 1  # [SEP]
    special: ClassVar = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
                         "mask_token": "[MASK]"}  # fmt: skip
    texts = ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")
    tiny: ClassVar = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                      "max_position_embeddings": 256}  # fmt: skip

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        config = model.config
        self.hidden_size: int = config.hidden_size
        self.self_attentions: list[nn.Module] = [layer.attention.self for layer in model.base_model.encoder.layer]
        self.key_value_shape = (config.num_attention_heads, config.hidden_size // config.num_attention_heads)
        # RoBERTa's position table has padding_idx + 1 rows in front that no token uses; BERT's has none.
        table = model.base_model.embeddings.position_embeddings
        self.first_position = 0 if table.padding_idx is None else table.padding_idx + 1
        self.max_positions: int = table.num_embeddings - self.first_position
        self.transform = _transform(model)

    @classmethod
    def output(cls, head: str) -> tuple[Any, dict[str, Any]]:
        """A linear head reads the bare encoder, without its masked language model's head or a pooler."""
        return (cls.auto, {}) if head == "verbalizer" else (AutoModel, {"add_pooling_layer": False})

    @staticmethod
    def read(tokenizer: Any, head: str, shared: list[int]) -> tuple[list[int], list[int]]:
        """The choices' shared pieces stand behind the text, and for a verbalizer a [MASK] behind them."""
        if head == "linear":
            return [], shared
        if tokenizer.mask_token_id is None:
            raise UserError("the tokenizer has no mask token, which label words need; set the backbone's head: linear.")
        return [], [*shared, tokenizer.mask_token_id]

    def logits(self, ids: Tensor) -> Tensor:
        """Of the last position but one."""
        return self.model(input_ids=ids).logits[:, -2]

    def hidden(self, sequence: Sequence) -> Tensor:
        """Last hidden states [B, N, H]."""
        places = attention.positions(sequence)
        with attention.gated(self.model, sequence, self.self_attentions) as mask:
            return self.model.base_model(
                inputs_embeds=sequence.embeds,
                attention_mask=mask,
                position_ids=None if places is None else places + self.first_position,
            ).last_hidden_state

    def state(self, sequence: Sequence, head: str, answers: Tensor | None = None) -> Tensor:
        """[B, H], float32. linear: the mean over the text. verbalizer: the state at [MASK], the last text but one."""
        states, text = self.hidden(sequence), sequence.text.long()
        if head == "linear":
            return masked_mean(states.float(), text)
        place = text.cumsum(1) * text == text.sum(1, keepdim=True) - 1
        return states[torch.arange(len(states), device=states.device), place.int().argmax(1)].float()

    def word_scores(self, state: Tensor, outputs: Tensor) -> Tensor:
        """The masked language model's logits [B, C] of the vocabulary ids `outputs` [B, C]; -inf where the id is -1.

        Raises UserError where the model has no such head.
        """
        decoder = self.model.get_output_embeddings()
        if self.transform is None or decoder is None:
            raise UserError(
                f"{self.model.name_or_path}: this encoder has no masked-language-model head that scores label words. "
                "Give the backbone `head: linear` in params.yaml."
            )
        weight = next(self.transform.parameters())
        return word_scores(self.transform(state.to(weight.dtype)).float(), decoder, outputs)


def _transform(model) -> nn.Module | None:  # type: ignore[no-untyped-def]
    """What the masked language model's head does to a state before the rows of the vocabulary."""
    if hasattr(model, "cls"):
        return model.cls.predictions.transform
    if hasattr(model, "lm_head"):
        return nn.Sequential(model.lm_head.dense, nn.GELU(), model.lm_head.layer_norm)
    return None
