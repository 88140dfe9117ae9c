"""Backbones with random weights of a given shape, and the word-level tokenizer that goes with the small ones."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, PreTrainedTokenizerFast

from dp.backbones.backbone import Backbone
from dp.backbones.definition import PlantedSource, RandomSource
from dp.closed import nearest
from dp.errors import UserError, shown


def words_tokenizer(family: type[Backbone], vocabulary: Sequence[str]) -> Any:
    """A fast tokenizer over words, which follow the special tokens; a text ends as those of the family do."""
    special = [piece for value in family.special.values() for piece in ([value] if isinstance(value, str) else value)]
    ids = {piece: number for number, piece in enumerate((*special, *vocabulary))}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=family.special["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    if family.texts:
        single, pair = family.texts
        used = [(piece, ids[piece]) for piece in special if piece in single]
        tokenizer.post_processor = processors.TemplateProcessing(single=single, pair=pair, special_tokens=used)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_input_names=["input_ids", "attention_mask"], **family.special
    )


def config(family: type[Backbone], source: RandomSource | PlantedSource, tokenizer: Any) -> Any:
    """The transformers config of a source's model.

    Raises UserError for a key of `shape` that the architecture does not know, or a vocabulary smaller than the
    tokenizer's.
    """
    known = AutoConfig.for_model(source.architecture).to_dict()
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
    with _fitting(source):
        return AutoConfig.for_model(source.architecture, **shape, **family.special_ids(tokenizer))


def model(
    family: type[Backbone], source: RandomSource | PlantedSource, tokenizer: Any, head: str = "verbalizer"
) -> Any:
    """A float32 model drawn from the source's seed; the same seed gives the same bytes.

    Raises UserError as `config`, and where the values of `shape` do not go together.
    """
    shape = config(family, source, tokenizer)
    with _fitting(source), torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.seed)
        return family.drawn(shape, head).float()


@contextmanager
def _fitting(source: RandomSource | PlantedSource) -> Iterator[None]:
    """Raises UserError where the values of `shape` do not go together."""
    try:
        yield
    except (ValueError, TypeError, KeyError, ArithmeticError, RuntimeError) as error:
        raise UserError(f"source.shape: no {source.architecture} has it: {shown(str(error))}.") from None


def _is_alike(value: Any, usual: Any) -> bool:
    """Whether a value can stand where the architecture has `usual`."""
    if usual is None or isinstance(usual, list | dict):
        return True
    if isinstance(usual, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(usual)
