"""A frozen backbone from the folder that `fetch-backbone` made."""

from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoTokenizer
from transformers.utils import logging

from dp.backbones.causal import Causal
from dp.backbones.seq2seq import Seq2Seq

Backbone = Causal | Seq2Seq
FAMILIES: dict[str, type[Causal] | type[Seq2Seq]] = {"causal": Causal, "seq2seq": Seq2Seq}


def load(folder: Path, family: str, dtype: str = "float32", device: str = "cpu") -> Backbone:
    """The backbone with dropout off and every weight frozen. Never runs code from the folder."""
    logging.disable_progress_bar()
    chosen = FAMILIES[family]
    model = chosen.auto_class.from_pretrained(folder, dtype=getattr(torch, dtype), use_safetensors=True)
    model.requires_grad_(False)
    return chosen(model.eval().to(device), load_tokenizer(folder))


def load_tokenizer(folder: Path):  # type: ignore[no-untyped-def]
    return AutoTokenizer.from_pretrained(folder)


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """Mean of [B, N, H] over the N positions that the mask [B, N] keeps: the instance feature h(x), [B, H]."""
    kept = mask[..., None].to(states)
    return (states * kept).sum(1) / kept.sum(1)
