"""Decoder-only backbones (Llama, Gemma, SmolLM2 …): class scores at the last position."""

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase


class Causal:
    """A causal language model that scores label words."""

    family = "causal"
    tail = 0
    auto_class = AutoModelForCausalLM

    def __init__(self, model, tokenizer: PreTrainedTokenizerBase) -> None:  # type: ignore[no-untyped-def]
        self.model, self.tokenizer = model, tokenizer
        self.head = model.get_output_embeddings().weight

    def embed(self, ids: Tensor) -> Tensor:
        """[B, T] -> [B, T, H]."""
        return self.model.get_input_embeddings()(ids)

    def hidden(self, embeds: Tensor, mask: Tensor) -> Tensor:
        """Last hidden states [B, N, H]."""
        return self.model.base_model(inputs_embeds=embeds, attention_mask=mask, use_cache=False).last_hidden_state

    def scores(self, embeds: Tensor, mask: Tensor, words: Tensor) -> Tensor:
        """Logits of the label words [C] after the last unmasked position: [B, C], float32."""
        position = torch.arange(mask.shape[1], device=mask.device)
        last = (mask * position).argmax(1)
        state = self.hidden(embeds, mask)[torch.arange(len(mask), device=mask.device), last]
        # In float32 whatever the backbone: bfloat16 would round a logit of 20 to steps of 1/8.
        return state.float() @ self.head[words].float().T
