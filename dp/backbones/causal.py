"""Decoder-only backbones (Llama, Gemma, SmolLM2 …): class scores at the last position."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from dp.backbones import attention
from dp.backbones.backbone import Backbone, word_scores
from dp.numerics.sequence import Sequence


class Causal(Backbone):
    """A causal language model with rotary positions that scores label words."""

    family = "causal"
    auto = AutoModelForCausalLM
    gguf = True
    projections = ("q_proj", "v_proj")
    ending = 0
    special: ClassVar = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>",
                         "additional_special_tokens": ["<extra_id_0>"]}  # fmt: skip
    tiny: ClassVar = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
                      "num_key_value_heads": 2, "max_position_embeddings": 256,
                      "tie_word_embeddings": True}  # fmt: skip

    def __init__(self, model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.hidden_size: int = model.config.hidden_size
        self.self_attentions: list[Any] = [layer.self_attn for layer in model.base_model.layers]
        self.key_value_shape: tuple[int, int] = (model.config.num_key_value_heads, self.self_attentions[0].head_dim)

    @staticmethod
    def read(tokenizer: Any, head: str, shared: list[int]) -> tuple[list[int], list[int]]:
        """The choices' shared pieces stand behind the text."""
        return [], shared

    def logits(self, ids: Tensor) -> Tensor:
        """Of the last position."""
        return self.model(input_ids=ids).logits[:, -1]

    def hidden(self, sequence: Sequence) -> Tensor:
        """Last hidden states [B, N, H]."""
        with attention.gated(self.model, sequence, self.self_attentions, causal=True) as mask:
            return self.model.base_model(
                inputs_embeds=sequence.embeds,
                attention_mask=mask,
                position_ids=attention.positions(sequence),
                use_cache=False,
            ).last_hidden_state

    def state(self, sequence: Sequence, head: str, answers: Tensor | None = None) -> Tensor:
        """The last visible position's state [B, H], float32, whatever the head."""
        visible = sequence.visible
        last = (visible * torch.arange(visible.shape[1], device=visible.device)).argmax(1)
        return self.hidden(sequence)[torch.arange(len(last), device=last.device), last].float()

    def word_scores(self, state: Tensor, outputs: Tensor) -> Tensor:
        """Logits [B, C] of the vocabulary ids `outputs` [B, C]; -inf where the id is -1."""
        scores = word_scores(state, self.model.get_output_embeddings(), outputs)
        cap = getattr(self.model.config, "final_logit_softcapping", None)  # of Gemma 2
        return scores if cap is None else (cap * (scores / cap).tanh()).masked_fill(outputs < 0, float("-inf"))
