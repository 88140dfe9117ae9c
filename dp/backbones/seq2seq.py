"""Encoder-decoder backbones (T5): the prompt is in the encoder, class scores at the decoder's answer position."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerBase

from dp.backbones import attention
from dp.backbones.backbone import Backbone, word_scores
from dp.errors import UserError
from dp.numerics.sequence import Sequence


class Seq2Seq(Backbone):
    """A T5 that scores label words where its decoder has read `<pad> <extra_id_0>` and an answer's shared pieces.

    Relative distances count visible positions alone, so that a prompt with dropped vectors equals the shorter prompt
    without them. The gate weighs keys in the encoder and in the decoder's cross-attention.
    """

    family = "seq2seq"
    auto = AutoModelForSeq2SeqLM
    projections = ("q", "v")
    depths = ("num_layers", "num_decoder_layers")
    ending = 1  # </s>
    special: ClassVar = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>",
                         "additional_special_tokens": ["<extra_id_0>"]}  # fmt: skip
    texts = ("$A </s>", "$A </s> $B </s>")
    tiny: ClassVar = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 4,
                      "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}  # fmt: skip

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.hidden_size: int = model.config.d_model
        self.key_value_shape: tuple[int, int] = (model.config.num_heads, model.config.d_kv)
        self.encoder_attentions: list[nn.Module] = [block.layer[0].SelfAttention for block in model.encoder.block]
        self.cross_attentions: list[nn.Module] = [block.layer[1].EncDecAttention for block in model.decoder.block]
        decoder_attentions = [block.layer[0].SelfAttention for block in model.decoder.block]
        self.self_attentions = self.encoder_attentions + decoder_attentions
        sentinel = tokenizer.convert_tokens_to_ids("<extra_id_0>")
        if sentinel is None or sentinel == tokenizer.unk_token_id:
            raise UserError(f"{model.name_or_path}: its tokenizer has no <extra_id_0>, where class scores are read.")
        self.decoder_ids = torch.tensor([[model.config.decoder_start_token_id, sentinel]], device=model.device)
        self.scale = model.config.d_model**-0.5 if _scales(model.config) else 1.0

    @classmethod
    def drawn(cls, config: Any, head: str) -> Any:
        """T5 v1.1 has an output layer of its own, which transformers 5 makes only for a checkpoint that holds it."""
        model = super().drawn(config, head)
        if not _scales(config):
            output = torch.empty_like(model.shared.weight).normal_(std=config.initializer_factor)
            model.lm_head.weight = nn.Parameter(output)
        return model

    @classmethod
    def special_ids(cls, tokenizer: Any) -> dict[str, int | None]:
        """A decoder starts with <pad>, as T5's does."""
        pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
        return {"pad_token_id": pad, "eos_token_id": eos, "decoder_start_token_id": pad}

    @staticmethod
    def read(tokenizer: Any, head: str, shared: list[int]) -> tuple[list[int], list[int]]:
        """The decoder reads the choices' shared pieces."""
        return shared, []

    @property
    def reader(self) -> nn.Module:
        """The encoder."""
        return self.model.encoder

    def logits(self, ids: Tensor) -> Tensor:
        """Of the decoder's last position."""
        return self.model(input_ids=ids, decoder_input_ids=self.decoder_ids).logits[:, -1]

    def hidden(self, sequence: Sequence) -> Tensor:
        """The encoder's last hidden states [B, N, H]."""
        places = attention.positions(sequence) if sequence.gate is not None else None
        with attention.gated(self.model, sequence, self.encoder_attentions) as mask, attention.placed(places):
            return self.model.encoder(inputs_embeds=sequence.embeds, attention_mask=mask).last_hidden_state

    def state(self, sequence: Sequence, head: str, answers: Tensor | None = None) -> Tensor:
        """The decoder's state [B, H] behind each row's answer pieces, float32, whatever the head.

        answers: [B, A], right-padded with -1; None where no row has any.
        """
        ids = self.decoder_ids.expand(len(sequence.embeds), -1)
        last = torch.full((len(ids),), ids.shape[1] - 1, device=ids.device)
        if answers is not None:
            ids = torch.cat([ids, answers.clamp(min=0)], dim=1)
            last = last + (answers >= 0).sum(1)
        encoded = self.hidden(sequence)
        with attention.gated(self.model, sequence, self.cross_attentions) as mask:
            decoded = self.model.decoder(
                input_ids=ids, encoder_hidden_states=encoded, encoder_attention_mask=mask, use_cache=False
            ).last_hidden_state
        return decoded[torch.arange(len(ids), device=ids.device), last].float()

    def word_scores(self, state: Tensor, outputs: Tensor) -> Tensor:
        """Logits [B, C] of the vocabulary ids `outputs` [B, C]; -inf where the id is -1."""
        return word_scores(state * self.scale, self.model.get_output_embeddings(), outputs)


def _scales(config: Any) -> bool:
    """The original T5 scales the decoder's output down before its head, which is its embedding; T5 v1.1 and mT5 have a
    head of their own and do not."""
    return bool(getattr(config, "scale_decoder_outputs", config.model_type != "mt5"))
