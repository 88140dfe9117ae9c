"""The work of one job: floating-point operations, passes through layers, and bytes to load.

A forward pass over rows of n positions (text, padding and prompt) takes what torch counted for the `Shape`. Backward
  through frozen weights takes as much again, for no weight has a gradient of its own, and fine-tuning twice as much;
  attention takes twice as much in both.
An optimizer's step counts as UPDATE FLOPs for each trained parameter: it moves bytes, at the pace of UPDATE FLOPs.
"""

from dataclasses import dataclass, fields
from functools import cache
from typing import NamedTuple

import torch

from dp.classifier.classifier_config import ClassifierConfig, LayerPrefix, Lora
from dp.data.batches import mixing_shares
from dp.jobs.job import Cell
from dp.planning.row_lengths import Inputs
from dp.planning.shapes import Shape
from dp.prompts.prompt import build
from dp.prompts.prompt_config import PromptConfig
from dp.training.loop_config import LoopConfig, Mixing

UPDATE = 500
"""AdamW and clipping: about 6 ns a parameter where a core does 85 GFLOP/s (MiniLM and SmolLM2, fine-tuned)."""
PADDING = 0.02
"""Share of a training batch's positions that is padding (dp/data/batches.py); 0.002 to 0.08 in recorded runs."""
PASSES = 3
"""A layer's share of a training pass, forward and backward, against a forward pass."""


@dataclass(frozen=True)
class Work:
    """layers: passes through a layer, forward; what each costs however few its rows. loaded: bytes of weights."""

    flops: float = 0.0
    layers: float = 0.0
    loaded: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Work)))

    def __mul__(self, times: float) -> "Work":
        return Work(*(getattr(self, one.name) * times for one in fields(Work)))


class Trainable(NamedTuple):
    """What a variant adds to a backbone."""

    kept: int  # parameters in tuned.safetensors
    trained: int
    copies: int  # forward passes that one training row takes
    vectors: int  # positions that it adds to every input
    beside: int  # positions in every layer's keys alone


def flops(shape: Shape, rows: float, width: float, beside: int = 0, backward: str = "none") -> float:
    """Of one pass. width: positions of a row; beside: key positions on top. backward: none | frozen | all."""
    weights = rows * (width * shape.per_position + shape.per_row)
    attention = rows * width * (width + beside) * shape.attention
    factor = {"none": 0, "frozen": 1, "all": 2}[backward]
    return 2 * (1 + factor) * weights + 4 * (1 + 2 * (factor > 0)) * attention


def tuned(shape: Shape, config: ClassifierConfig, classes: list[int]) -> Trainable:
    """Of a run with this configuration. classes: of each of its tasks."""
    head = (shape.hidden + 1) * sum(classes) if config.head == "linear" else 0
    if config.definition.baseline == "finetune":
        vectors = config.prompt.length if config.prompt else 0  # a prompt that is tuned beside it
        moved = shape.parameters + vectors * shape.hidden + head
        return Trainable(moved, moved, 1, vectors, 0)
    match config.baseline:
        case LayerPrefix(length=length):
            return Trainable(length * shape.prefix + head, length * shape.prefix + head, 1, 0, length)
        case Lora(rank=rank):
            return Trainable(rank * shape.projections + head, rank * shape.projections + head, 1, 0, 0)
    if config.prompt is None:
        return Trainable(head, head, 1, 0, 0)
    settings = config.model_copy(update={"seed": 0}).model_dump_json(include=set(PromptConfig.model_fields))
    kept, trained, copies, vectors = _prompt(shape.hidden, shape.vocabulary, len(classes), settings)
    return Trainable(kept + head, trained + head, copies, vectors, 0)


@cache
def _prompt(hidden: int, vocabulary: int, tasks: int, settings: str) -> tuple[int, int, int, int]:
    """Parameters kept and trained, copies and vectors of a soft prompt, as it is built. settings: JSON."""
    table = torch.zeros(1).expand(vocabulary, hidden)
    prompt = build(PromptConfig.model_validate_json(settings), table, [], tasks)
    found = list(prompt.parameters())
    trained = sum(p.numel() for p in found if p.requires_grad)
    return sum(p.numel() for p in found), trained, prompt.copies, prompt.position.vectors


class TextLengths(NamedTuple):
    """Mean widths of the rows of a training, padded, without prompt; rows it is selected by, and how wide they are."""

    train: float
    selection: list[tuple[int, float]]  # by task: rows, width


def texts_of(cell: Cell, config: LoopConfig, inputs: dict[str, Inputs]) -> TextLengths:
    """inputs: of each task whose rows the training reads."""
    width, regime = config.input_width, cell.parsed_regime
    split = "validation" if "select_on_reported" in config.switches else "selection"
    sizes = {task: one.rows("train", regime) for task, one in inputs.items()}
    mixing = config.multitask or Mixing()
    shares = mixing_shares(list(sizes.values()), mixing.alpha, mixing.cap)
    means = [one.tokens["train"] / (1 - PADDING) for one in inputs.values()]
    mean = sum(share * tokens for share, tokens in zip(shares, means, strict=True))
    if config.torch_compile:
        mean += (config.torch_compile.pad_to_multiple_of - 1) / 2  # what rounding up to a multiple adds in the mean
    return TextLengths(
        train=width or mean,
        selection=[(one.rows(split, regime), width or one.tokens[split]) for one in inputs.values()],
    )


def updates(shape: Shape, config: LoopConfig, made: Trainable, width: float, starts: bool = False) -> Work:
    """The steps of a training alone: what its record calls step_seconds. width: positions of a row's text, padded.

    starts: with those of the starts that did not go on.
    """
    budget = config.training
    steps = budget.steps + budget.updates_of_other_starts * starts
    if config.definition.baseline == "linear_probe":
        return Work(flops=6.0 * steps * budget.batch_size * made.trained, layers=float(PASSES * steps))
    backward = "all" if config.definition.baseline == "finetune" else "frozen"
    rows = budget.batch_size * made.copies
    one = flops(shape, rows, width + made.vectors, made.beside, backward) + UPDATE * made.trained
    passes = budget.batch_size // budget.micro_batch_size
    # Replayed as a CUDA graph, a pass is launched once and not layer by layer.
    graph = config.torch_compile is not None and config.torch_compile.mode == "reduce-overhead"
    launched = 1 if graph else shape.layers
    return Work(flops=steps * one, layers=steps * passes * PASSES * launched / len(config.together))


def selections(shape: Shape, config: LoopConfig, made: Trainable, texts: TextLengths) -> Work:
    """The evaluations on the selection rows during a training."""
    budget = config.training
    every = budget.evaluate_every
    times = -(-budget.steps // every) + (budget.starts > 1 and budget.start_steps % every > 0)
    times += (budget.starts - 1) * -(-budget.start_steps // every)
    return sum((scoring(shape, config, made, rows, width) for rows, width in texts.selection), Work()) * times


def scoring(shape: Shape, config: ClassifierConfig, made: Trainable, rows: int, width: float) -> Work:
    """One forward pass over `rows`; of a majority or a linear probe next to nothing."""
    if config.definition.baseline in ("majority", "linear_probe"):
        return Work()
    most = config.evaluation_batch_size * (config.max_tokens + made.vectors)
    passes = max(1.0, rows * (width + made.vectors) / most)
    return Work(flops(shape, rows, width + made.vectors, made.beside), float(passes * shape.layers))


def loading(shape: Shape, config: ClassifierConfig) -> Work:
    return Work() if config.definition.baseline == "majority" else Work(loaded=4.0 * shape.parameters)


def featuring(shape: Shape, inputs: Inputs, positions: float, width: int | None) -> Work:
    """The instance features of a task: one forward pass of the un-prompted rows of every split.

    positions: of a batch, at most.
    """
    total = Work(loaded=4.0 * shape.parameters)
    for split, counts in inputs.counts.items():
        rows = sum(counts)
        passes = max(1.0, rows * (width or inputs.tokens[split]) / positions)
        bare = shape._replace(per_row=0)
        total += Work(flops(bare, rows, width or inputs.tokens[split]), float(passes * shape.layers))
    return total
