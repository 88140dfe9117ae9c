"""The transformers model of a checkpoint, by family and head."""

from pathlib import Path
from typing import Any


def pretrained(folder: Path, family: str, head: str, **options: Any) -> Any:
    """What transformers' from_pretrained gives, with the output layer that the head reads and no other."""
    import transformers

    match family, head:
        case "seq2seq", _:
            return transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, **options)
        case "causal", _:
            return transformers.AutoModelForCausalLM.from_pretrained(folder, **options)
        case "encoder", "verbalizer":
            return transformers.AutoModelForMaskedLM.from_pretrained(folder, **options)
    return transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False, **options)
