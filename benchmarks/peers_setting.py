"""What all contestants of `peers.py` are given: a backbone of a true shape with random weights, and rows of true
lengths.

Token ids are random, and so are labels: neither changes what a pass costs.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from transformers.utils import logging

from dp.backbones.backbone import Backbone
from dp.backbones.definition import BackboneEntry, RandomSource
from dp.backbones.families import FAMILIES
from dp.data.batches import WINDOW, training_batches
from dp.data.encoding import Example, gather
from dp.data.tokens import Split
from dp.jobs.job import Cell
from dp.numerics import seeds
from dp.planning import shapes, work
from dp.planning.row_lengths import LENGTHS, QUANTILES
from dp.study import grid
from dp.study.study import Study, load
from dp.training.loop_config import LoopConfig
from dp.worlds.random_weights import words_tokenizer

ROOT = Path(__file__).resolve().parents[1]
CLASSES = 2


@dataclass(frozen=True)
class Setting:
    """What is the same for all. folder: where the backbone lies; updates, evaluated: batches that are timed."""

    backbone: str
    task: str
    device: str
    dtype: str
    threads: int
    updates: int
    evaluated: int
    batch_size: int
    micro_batch_size: int
    max_tokens: int
    prompt_length: int
    seed: int
    folder: Path

    @property
    def entry(self) -> BackboneEntry:
        return study().params.backbones[self.backbone]

    @property
    def family(self) -> type[Backbone]:
        return FAMILIES[self.entry.family]

    @property
    def head(self) -> str:
        return "linear" if self.entry.family == "encoder" else "verbalizer"

    @property
    def on_gpu(self) -> bool:
        return self.device == "cuda"


class Line(NamedTuple):
    """One contestant with one variant. estimator: of its choice, as the scale has it or named; None: it has none."""

    contestant: str
    variant: str
    estimator: str | None

    @property
    def what(self) -> str:
        return self.variant + (f":{self.estimator}" if self.estimator else "")


def study() -> Study:
    """The paper's scale: prompt, optimizer and estimator are its own."""
    return load(ROOT, {"scale": "paper"})


def backbones() -> list[str]:
    """Those whose shape is known without a download."""
    known = shapes.known()
    return [
        name
        for name, entry in study().params.backbones.items()
        if isinstance(entry.source, RandomSource) or "config" in known.get(shapes.origin(entry), {})
    ]


def quantiles() -> dict[tuple[str, str], list[float]]:
    """(task, split) -> its lengths in T5's pieces at QUANTILES."""
    with LENGTHS.open(encoding="utf-8", newline="") as file:
        return {
            (row["task"], row["split"]): [float(row[f"q{n}"]) for n in QUANTILES]
            for row in csv.DictReader(file)
        }  # fmt: skip


def make_backbone(setting: Setting) -> None:
    """Into the setting's folder, as `fetch-backbone` leaves one."""
    tokenizer = words_tokenizer(setting.family, ())
    given = {key: value for key, value in setting.family.special_ids(tokenizer).items() if value is not None}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(setting.seed, "weights"))
        made = shapes.drawn(_config(setting), setting.entry.family, setting.head, given)
    logging.disable_progress_bar()
    made.model.save_pretrained(setting.folder)
    tokenizer.save_pretrained(setting.folder)


def rows(setting: Setting, split: str) -> Split:
    """So many batches of a split as batching a window of it by length makes, evenly from its shortest to its longest.

    So a few batches are as long, on average, as all, and are padded as little as they are in a long training.
    """
    count, size = (
        (setting.updates, setting.batch_size) if split == "train" else (setting.evaluated, setting.micro_batch_size)
    )
    generator = seeds.generator(setting.seed, "rows", setting.task, split)
    shares = torch.rand(WINDOW * size, generator=generator).numpy()
    drawn = np.interp(100 * shares, QUANTILES, quantiles()[setting.task, split]).round().astype(int)
    lengths = np.sort(drawn.clip(1 + setting.family.ending, setting.max_tokens)).reshape(WINDOW, size)
    kept = lengths[[int((n + 0.5) * WINDOW / count) for n in range(count)]].flatten().tolist()
    examples = list(_examples(setting, kept, generator))
    labels = torch.randint(CLASSES, (len(kept),), generator=generator).tolist()
    named = [{"id": f"{split}-{n}", "label": label} for n, label in enumerate(labels)]
    return gather(examples, named)


def _examples(setting: Setting, lengths: list[int], generator: torch.Generator) -> Iterator[Example]:
    tokenizer, tail = words_tokenizer(setting.family, ()), setting.family.ending
    first, words = len(tokenizer), _config(setting)["vocab_size"]
    end = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    outputs = list(range(CLASSES)) if setting.head == "linear" else list(range(first, first + CLASSES))
    for length in lengths:
        ids = torch.randint(first, words, (length - tail,), generator=generator).tolist()
        yield Example([*ids, *[end] * tail], outputs, tail, [])


def batches(setting: Setting, split: Split) -> list[list[int]]:
    """Row numbers by update, as the training loop has them: every row once."""
    steps = len(split) // setting.batch_size
    return training_batches([len(ids) for ids in split.ids], setting.batch_size, steps, setting.seed)


def config(setting: Setting, line: Line) -> LoopConfig:
    """That of a run of the scale, with the setting's sizes and the line's estimator."""
    asked = grid.run_config(study(), Cell(setting.backbone, "full", setting.task, line.variant, setting.seed))
    sizes = {"steps": setting.updates, "batch_size": setting.batch_size, "micro_batch_size": setting.micro_batch_size}
    never = {"evaluate_every": setting.updates, "checkpoint_every": setting.updates}
    asked |= {
        "backbone_head": setting.head,
        "head": setting.head,
        "max_tokens": setting.max_tokens,
        "evaluation_batch_size": setting.micro_batch_size,
        "training": asked["training"] | sizes | never,
        "compute": {"device": setting.device, "dtype": setting.dtype, "threads": setting.threads},
    }
    for part in ("prompt", "baseline"):
        if asked[part] and "length" in asked[part]:
            asked[part] |= {"length": setting.prompt_length}
    if asked["prompt"]:  # rows of a random table begin with padding, 0, where a deep model's gradient overflows
        asked["prompt"]["init"] |= {"kind": "uniform"}
    if line.estimator:
        asked["choice"] |= {"estimator": line.estimator}
    return LoopConfig.model_validate(asked)


def needed(setting: Setting, line: Line, split: Split) -> float:
    """FLOPs of one forward and backward pass of every row of a split, no position of which is padding.

    A row passes as often as its estimator asks; the instance feature comes from the cache.
    """
    own, shape = config(setting, line), shapes.shape(_config(setting), setting.entry.family, setting.head)
    made = work.tuned(shape, own, [CLASSES])
    backward = "all" if own.definition.baseline == "finetune" else "frozen"
    passes = (work.flops(shape, 1, len(ids) + made.vectors, made.beside, backward) for ids in split.ids)
    return made.copies * sum(passes)


def _config(setting: Setting) -> dict:
    return shapes.config_of(setting.backbone, setting.entry)
