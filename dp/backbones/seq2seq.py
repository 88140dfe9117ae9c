"""Encoder-decoder backbones (T5): the prompt is in the encoder, class scores at the decoder's answer position."""

import torch
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerBase

from dp.errors import UserError


class Seq2Seq:
    """A T5 that scores label words where its decoder has read `<pad> <extra_id_0>`."""

    family = "seq2seq"
    tail = 1  # </s> stays behind the prompt
    auto_class = AutoModelForSeq2SeqLM

    def __init__(self, model, tokenizer: PreTrainedTokenizerBase) -> None:  # type: ignore[no-untyped-def]
        self.model, self.tokenizer = model, tokenizer
        self.head = model.get_output_embeddings().weight
        sentinel = tokenizer.convert_tokens_to_ids("<extra_id_0>")
        if sentinel is None or sentinel == tokenizer.unk_token_id:
            raise UserError(f"{model.name_or_path}: its tokenizer has no <extra_id_0>, where class scores are read.")
        self.decoder_ids = torch.tensor([[model.config.decoder_start_token_id, sentinel]], device=self.head.device)
        # The original T5 scales the decoder's output down before its head; T5 v1.1 does not.
        scaled = getattr(model.config, "scale_decoder_outputs", model.config.tie_word_embeddings)
        self.scale = model.config.d_model**-0.5 if scaled else 1.0

    def embed(self, ids: Tensor) -> Tensor:
        """[B, T] -> [B, T, H]."""
        return self.model.get_input_embeddings()(ids)

    def hidden(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """The encoder's last hidden states [B, N, H]."""
        return self.model.encoder(inputs_embeds=embeds, attention_mask=mask).last_hidden_state

    def scores(self, embeds: Tensor, mask: Tensor, words: Tensor) -> Tensor:
        """Logits of the label words [C] at the answer position: [B, C], float32."""
        decoded = self.model.decoder(
            input_ids=self.decoder_ids.expand(len(embeds), -1),
            encoder_hidden_states=self.hidden(embeds, mask),
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state[:, -1]
        # In float32 whatever the backbone: bfloat16 would round a logit of 20 to steps of 1/8.
        return (decoded.float() * self.scale) @ self.head[words].float().T
