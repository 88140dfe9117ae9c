"""Which files make up a published checkpoint, and that they name no file but one another.

transformers follows what a checkpoint's own files say: an index names the shards, config.json may name the weights,
an adapter names its base. Whatever is read must be a file of the source that was verified and is recorded.
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import safe_open

from dp.errors import UserError
from dp.files import unique_keys

FORMATS = (("model", "safetensors"), ("pytorch_model", "bin"))
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "vocab.json", "vocab.txt", "merges.txt",
)  # fmt: skip
ADAPTER = "adapter_config.json"
INDEX = ".index.json"
GGUF = ".gguf"
BYTES = ("I8", "U8", "F8", "torch.int8", "torch.uint8", "torch.float8")
"""How the names of dtypes of 8 bits begin, in safetensors and in torch."""
NAMING = {"config.json": "transformers_weights", "tokenizer_config.json": "fast_tokenizer_files"}
"""file -> its key by which transformers finds another file."""
_NOT_ALONE = "is a pickle that holds more than tensors"


def needed(names: Iterable[str]) -> list[str]:
    """Of a source's names: config, tokenizer files, and the weights in one format, safetensors first, GGUF last.

    Of weights in shards the index alone: it names them (`complete`). Raises UserError where there are no weights that
    can be read, several GGUF files, or an adapter, whose base lies elsewhere.
    """
    names = sorted(names)
    if ADAPTER in names:
        raise UserError(
            f"The backbone's files hold {ADAPTER}: an adapter, whose base model lies elsewhere. Merge the two (peft's "
            "merge_and_unload), save the whole model, and take that."
        )
    for stem, suffix in FORMATS:
        for weights in (f"{stem}.{suffix}", f"{stem}.{suffix}{INDEX}"):
            if weights in names:
                return ["config.json", weights, *(name for name in TOKENIZER_FILES if name in names)]
    quantized = [name for name in names if name.endswith(GGUF)]
    if len(quantized) == 1:
        return quantized
    if quantized:
        raise UserError(f"The backbone's files hold several GGUF files, {quantized[:20]}. Put one alone in a folder.")
    raise UserError(
        f"The backbone's files {names[:20]} hold no model.safetensors or pytorch_model.bin, whole or in shards with "
        "their index, and no GGUF file. Choose a repository, revision or folder with weights in one of these formats."
    )


def complete(paths: dict[str, Path], more: Callable[[list[str]], dict[str, Path]]) -> dict[str, Path]:
    """The files with the shards that an index among them names, which `more` gets and verifies.

    Raises UserError where a file names one that is not among them.
    """
    if in_index := shards(paths):
        paths = paths | more(in_index)
    for name, key in NAMING.items():
        if name in paths:
            value = _read(name, paths[name]).get(key)
            for named in [value] if isinstance(value, str) else value or []:
                if named not in paths and named not in TOKENIZER_FILES:
                    raise UserError(f"{name}: {key} names {named!r}, which is no file of the backbone. Take it out.")
    return paths


def shards(paths: dict[str, Path]) -> list[str]:
    """Names of the files that an index among these takes weights from; none where there is no index."""
    return [shard for name in paths if name.endswith(INDEX) for shard in _shards(name, paths[name])]


def format_of(paths: Iterable[str]) -> str:
    """In which format the weights among these files are: `safetensors`, `pickle` or `gguf`."""
    kinds = {"safetensors": "safetensors", "bin": "pickle", "gguf": "gguf"}
    return next(
        kinds[kind] for kind in (name.removesuffix(INDEX).rpartition(".")[2] for name in paths) if kind in kinds
    )


def check_weights(paths: dict[str, Path]) -> None:
    """Before transformers reads them: what it would take as it is, and pickles that hold anything but tensors.

    Raises UserError for what is no file of tensors; for whole numbers or floats of 8 bits, which mean nothing without
    the scales of their quantization; for a weight that lies in several shards or in another than the index says, of
    which transformers takes the last.
    """
    weight_map = {key: shard for name in paths if name.endswith(INDEX)
                  for key, shard in _read(name, paths[name])["weight_map"].items()}  # fmt: skip
    found: dict[str, str] = {}
    for name in (name for name in sorted(paths) if name.endswith(tuple(suffix for _, suffix in FORMATS))):
        for weight, dtype in _weights(name, paths[name]).items():
            if dtype.startswith(BYTES):
                raise UserError(
                    f"{name}: the weight {weight} is quantized ({dtype}), and its scales are not applied. Choose a "
                    "checkpoint in float32, float16 or bfloat16, or a GGUF file."
                )
            other = found.setdefault(weight, weight_map.get(weight, name))
            if other != name:
                raise UserError(
                    f"{name}: holds the weight {weight}, which is to come from {other}. Use the index and the shards "
                    "that belong to one checkpoint."
                )


def _weights(name: str, path: Path) -> dict[str, str]:
    """Name -> dtype of each tensor in a file of weights; no tensor is read, and no code of a pickle is run."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118  it is no mapping
        loaded = torch.load(path, map_location="meta", weights_only=True)
    except UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        raise UserError(
            f"{name}: {_NOT_ALONE} ({asked[1] if asked else 'unknown'}), which could run code, so it was not loaded. "
            "Take a revision that holds safetensors, as a pull request on the hub often does (refs/pr/<n>)."
        ) from None
    except Exception as error:  # whatever the two readers say of a damaged file
        said = (str(error).strip() or "no message").splitlines()[0]
        raise UserError(f"{name}: is no file of tensors ({type(error).__name__}: {said}). Get it again.") from None
    odd = [str(key) for key, value in loaded.items() if not isinstance(value, torch.Tensor)] \
        if isinstance(loaded, dict) else [type(loaded).__name__]  # fmt: skip
    if odd:
        raise UserError(f"{name}: {_NOT_ALONE} ({odd[0]}). Choose a checkpoint that is the weights alone.")
    return {key: str(tensor.dtype) for key, tensor in loaded.items()}


def _shards(name: str, path: Path) -> list[str]:
    """The shards of an index, sorted. Raises UserError unless each is the bare name of a file beside it."""
    weight_map = _read(name, path).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise UserError(f"{name}: has no weight_map that says which shard holds which weights. Get the file again.")
    suffix = name.removesuffix(INDEX).rpartition(".")[2]
    for tensor, shard in weight_map.items():
        if not isinstance(shard, str) or shard != Path(shard).name or "\\" in shard or not shard.endswith(f".{suffix}"):
            raise UserError(
                f"{name}: takes the weight {tensor} from {shard!r}. A shard is a .{suffix} file beside its index, by "
                "its bare name: weights from anywhere else would be neither verified nor recorded. Use the index that "
                "belongs to this checkpoint."
            )
    return sorted(set(weight_map.values()))


def _read(name: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except ValueError as error:
        raise UserError(f"{name}: is no JSON, or none with one meaning ({error}). Get the file again.") from None
    if not isinstance(value, dict):
        raise UserError(f"{name}: must hold keys and values, not {type(value).__name__}. Get the file again.")
    return value
