"""What each family is, its file's class, and a frozen backbone of it from the folder that `fetch-backbone` made.

`names.py` has the same names for those who need no more.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer
from transformers.utils import logging

from dp.backbones.backbone import Backbone
from dp.backbones.causal import Causal
from dp.backbones.encoder import Encoder
from dp.backbones.names import Family
from dp.backbones.seq2seq import Seq2Seq

FAMILIES: dict[Family, type[Backbone]] = {"seq2seq": Seq2Seq, "causal": Causal, "encoder": Encoder}
OFFLINE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Nothing but the folder's own files is read, and none of them is run."""


def load(
    folder: Path, family: Family, head: str = "verbalizer", dtype: str = "float32", device: str = "cpu"
) -> Backbone:
    """The backbone with dropout off and every weight frozen. Never runs code from the folder.

    head: verbalizer | linear. An encoder with a linear head is read without its masked-language-model head.
    """
    logging.disable_progress_bar()
    model = FAMILIES[family].pretrained(folder, head, dtype=getattr(torch, dtype), use_safetensors=True, **OFFLINE)
    model.requires_grad_(False)
    return FAMILIES[family](model.eval().to(device), load_tokenizer(folder))


def load_tokenizer(folder: Path):  # type: ignore[no-untyped-def]
    return AutoTokenizer.from_pretrained(folder, **OFFLINE)
