"""Backbones with random weights of a given shape, and the word-level tokenizer that goes with the small ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dp import files
from dp.closed import nearest
from dp.errors import UserError, shown
from dp.worlds.definitions import PlantedSource, RandomSource

SPECIAL = ("<pad>", "</s>", "<unk>", "<extra_id_0>")
"""Ids 0..3, T5's pad and end among them; words follow."""
SPECIAL_OF_BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def write_words_tokenizer(folder: Path, architecture: str, vocabulary: Sequence[str]) -> None:
    """A fast tokenizer over words. t5: it ends a text with </s>; bert: [CLS] text [SEP]; llama: text alone."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special: dict[str, Any] = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    special["additional_special_tokens"] = ["<extra_id_0>"]
    if architecture == "bert":
        special = {f"{token[1:-1].lower()}_token": token for token in SPECIAL_OF_BERT}
    pieces = (*(SPECIAL_OF_BERT if architecture == "bert" else SPECIAL), *vocabulary)
    ids = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=special["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    added = {"t5": ("$A </s>", "$A </s> $B </s>"), "bert": ("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")}
    if architecture in added:
        single, pair = added[architecture]
        used = [(token, ids[token]) for token in ("</s>", "[CLS]", "[SEP]") if token in single]
        tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=used)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **special
    ).save_pretrained(folder)


def model(source: RandomSource | PlantedSource, tokenizer: Any) -> Any:
    """A float32 model drawn from the source's seed; the same seed gives the same bytes.

    Raises UserError for a key of `shape` that the architecture does not know, or a vocabulary smaller than the
    tokenizer's.
    """
    import torch
    from transformers import (
        BertConfig,
        BertForMaskedLM,
        LlamaConfig,
        LlamaForCausalLM,
        T5Config,
        T5ForConditionalGeneration,
    )

    classes: dict[str, Any] = {
        "t5": (T5Config, T5ForConditionalGeneration),
        "llama": (LlamaConfig, LlamaForCausalLM),
        "bert": (BertConfig, BertForMaskedLM),
    }
    config_class, model_class = classes[source.architecture]
    known = config_class().to_dict()
    for key in source.shape:
        if key not in known:
            raise UserError(f"source.shape: {source.architecture} has no '{key}'{nearest(key, known)}.")
        if not _is_alike(source.shape[key], known[key]):
            raise UserError(
                f"source.shape.{key} = {shown(repr(source.shape[key]))}: must be of the kind of {known[key]!r}, which "
                f"{source.architecture} has without it."
            )
    shape: dict[str, Any] = {"vocab_size": len(tokenizer)} | source.shape
    if shape["vocab_size"] < len(tokenizer):
        raise UserError(
            f"source.shape.vocab_size = {shape['vocab_size']} is smaller than the tokenizer's {len(tokenizer)} pieces. "
            "Raise it or leave it out."
        )
    special = {name: getattr(tokenizer, name) for name in ("pad_token_id", "eos_token_id", "bos_token_id")}
    if source.architecture == "t5":
        del special["bos_token_id"]
        special["decoder_start_token_id"] = tokenizer.pad_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.seed)
        try:
            network = model_class(config_class(**shape, **special)).float()
        except (ValueError, TypeError, KeyError, ArithmeticError, RuntimeError) as error:
            raise UserError(f"source.shape: no {source.architecture} has it: {shown(str(error))}.") from None
        if source.architecture == "t5" and source.shape.get("tie_word_embeddings") is False:
            _untie(network)
        return network


def _is_alike(value: Any, usual: Any) -> bool:
    """Whether a value can stand where the architecture has `usual`."""
    if usual is None or isinstance(usual, list | dict):
        return True
    if isinstance(usual, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(usual)


def _untie(network: Any) -> None:
    """T5 v1.1 has a head of its own; transformers 5 makes one only when it reads a checkpoint that holds it."""
    import torch

    head = torch.empty_like(network.shared.weight).normal_(std=network.config.initializer_factor)
    network.lm_head.weight = torch.nn.Parameter(head)


def write_config(folder: Path, architecture: str) -> None:
    """What AutoTokenizer needs beside bare tokenizer files to know their kind."""
    files.write_json(folder / "config.json", {"model_type": architecture})
