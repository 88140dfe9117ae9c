"""A GGUF file, dequantized once by transformers; later loads read safetensors."""

from pathlib import Path
from typing import Any

from dp.backbones.backbone import Backbone
from dp.errors import UserError


def load(path: Path, family: type[Backbone], head: str) -> tuple[Any, Any]:
    """(model in float32, tokenizer), both free of the quantization. Raises UserError for an unreadable file."""
    import torch
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            path.parent, gguf_file=path.name, local_files_only=True, trust_remote_code=False
        )
        read = family.pretrained(
            path.parent, head, gguf_file=path.name, dtype=torch.float32, local_files_only=True, trust_remote_code=False
        )
    except (ValueError, OSError, KeyError, NotImplementedError, ImportError) as error:
        raise UserError(
            f"{path.name}: transformers cannot read this GGUF file ({type(error).__name__}: {error}). Use an "
            "architecture and a quantization that it supports, with the packages gguf and accelerate installed."
        ) from None
    config = type(read.config).from_dict(
        {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    )
    model = family.drawn(config, head).float()
    model.load_state_dict(read.state_dict())
    return model, tokenizer
