"""What was tuned, put to use: a label and probabilities for texts of one's own."""

import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from dp import files, paths
from dp.backbones.families import load as load_backbone
from dp.classifier.classifier import Classifier
from dp.classifier.classifier_config import ClassifierConfig
from dp.classifier.scoring import score
from dp.closed import nearest, one_of
from dp.compute.features import of_split
from dp.compute.tokenize import TokensConfig
from dp.data.choices import answering
from dp.data.encoding import Example, encode, gather
from dp.data.tokens import Split
from dp.errors import UserError, shown
from dp.jobs import record
from dp.jobs.inputs import verified
from dp.jobs.project import project_digest
from dp.numerics.devices import is_cpu
from dp.prompts.prompt import Choices
from dp.sources.read import NO_TEXT
from dp.tasks.model import Task, fields_read, file_of, released_spans, render
from dp.tasks.model import load as load_task
from dp.training import overflow
from dp.training.tuned import restored

_one_at_a_time = threading.Lock()
"""Threads wait for one another: dp/backbones/attention.py holds what one pass of a process needs."""


class Predicted(NamedTuple):
    """Of one row. probabilities: by label, in class order; they add up to 1.

    split, length, pool: what the prompt chose for it, None where the variant has no such choice: how many of its
    vectors stand in front, how many there are, and the weights of its pool. truncated: whether the row was too long,
    and was cut.
    """

    label: str
    probabilities: dict[str, float]
    split: int | None
    length: int | None
    pool: list[float] | None
    truncated: bool


class Predictor:
    """A trained run: `Predictor.load("results/train/<scale>/<run>").predict([{"forecast": "They say ..."}])`."""

    def __init__(
        self,
        folder: Path,
        model: Classifier,
        config: ClassifierConfig,
        task: Task,
        number: int,
        read: TokensConfig,
        step: int,
        pooling: set[str],
        source: str,
    ) -> None:
        """As `load` calls it. folder: of the training. number: of the task in a union. pooling: of the instance feature
        that is read, if any. source: of the task's rows."""
        self.task, self.source = task, source
        self.model, self.config, self.folder = model, config, folder
        self.number, self._read, self._step, self._pooling = number, read, step, pooling

    @property
    def fields(self) -> list[str]:
        """The fields of a row that its prediction needs."""
        return fields_read(self.task, self._read.family)

    @classmethod
    def load(cls, run: str | Path, task: str | None = None, device: str = "auto", dtype: str | None = None) -> Self:
        """A run from the folder of its training, within the project that made it.

        task: which one, of a run that serves several. device: cpu, cuda, or auto: a GPU where there is one. dtype: of
        the backbone, float32 or bfloat16; None: the run's. A run that draws its choices when it is evaluated
        (gumbel_at_evaluation) takes the most probable here, or a row's prediction would depend on its neighbours.

        Raises UserError where that is no training, or one without numbers; where its files, its backbone's or its
        task's are others than it was trained with; where `task` is missing or is none of its own; where there is no GPU
        and `device` is cuda.
        """
        folder = Path(os.path.abspath(run))  # links stay: results may lie elsewhere
        said = record.read(folder)
        if said["command"] != "train":
            raise UserError(f"{run}: is made by `{said['command']}` and holds nothing that was tuned. Name a training.")
        if ended := overflow.of(said["made"]):
            raise UserError(f"{run}: its training ended without a number ({ended['overflow']['why']}).")
        verified(folder)
        root = root_of(folder)
        asked = files.read_json(folder / "config.json")
        if not asked.get("keep_model", True):
            raise UserError(
                f"{run}: kept no model, only its scores of the reported rows. Train it anew under keep_models: true."
            )
        tasks = asked["multitask"]["tasks"] if asked["multitask"] else [asked["task"]]
        name = _task(tasks, task)
        _check_backbone(root, asked["backbone"], said["used"]["inputs"])
        tokens = record.read(root / paths.tokens(asked["scale"], asked["backbone"], name))
        _check_task(name, tokens["used"]["inputs"])
        where = "cpu" if is_cpu(device) else "cuda"
        if where == "cuda" and not torch.cuda.is_available():
            raise UserError("device: is cuda, but torch finds no GPU; leave it at auto, or say cpu.")
        with _one_at_a_time:  # transformers loads under a default dtype of the whole process
            backbone = load_backbone(root / paths.backbone(asked["backbone"]), asked["family"], asked["backbone_head"],
                                     dtype or asked["compute"]["dtype"], where)  # fmt: skip
            model, config = restored(folder, backbone, said["made"]["classes"], where)
        if "shuffled_feature" in config.switches:
            raise UserError(f"{run}: is broken on purpose: each row reads the feature of another. It predicts nothing.")
        config = config.model_copy(
            update={"switches": [one for one in config.switches if one != "gumbel_at_evaluation"]}
        )
        pooling = {Path(path).parent.name for path in said["used"]["inputs"] if "/features/" in path}
        read, step = TokensConfig.model_validate(tokens["asked"]), said["made"]["selected_step"]
        source = tokens["asked"]["source"]
        return cls(folder, model, config, load_task(name), tasks.index(name), read, step, pooling, source)

    def predict(self, rows: Sequence[Mapping[str, str]], batch_size: int | None = None) -> list[Predicted]:
        """A prediction for each row, a mapping from each of `fields` to a text.

        batch_size: rows of max_tokens that go through the backbone together, and of shorter ones more; None: as many
        as when the run was evaluated. It changes a number by no more than rounding does.

        Raises UserError for a field that the task does not have or a row lacks, and for a row that does not fit.
        """
        if not rows:
            return []
        split, cut = self.encoded(rows)
        scores, choices = self.scores(split, batch_size)
        return [
            Predicted(self.task.label_names[int(of_row.argmax())],
                       dict(zip(self.task.label_names, of_row.softmax(0).tolist(), strict=True)),
                       **_chosen(choices, number), truncated=truncated)
            for number, (of_row, truncated) in enumerate(zip(scores, cut, strict=True))
        ]  # fmt: skip

    def scores(self, split: Split, batch_size: int | None = None) -> tuple[Tensor, Choices | None]:
        """[R, C] of encoded rows, and what the prompt chose for them."""
        with _one_at_a_time:
            return self._scores(split, batch_size)

    def _scores(self, split: Split, batch_size: int | None) -> tuple[Tensor, Choices | None]:
        config = self.config
        if batch_size is not None:
            config = config.model_copy(update={"evaluation_batch_size": batch_size})
        features = None
        if self._pooling:
            width = config.max_tokens if "padded_mean" in self._pooling else None
            features = of_split(split, self.model.backbone, width, config.evaluation_batch_size, self.model.device)
        self.model.check_lengths(config.input_width or max(len(ids) for ids in split.ids))
        found, choices = score(self.model, split, features, config, self._step)
        return found[:, : len(self.task.label_names)], choices

    def encoded(self, rows: Sequence[Mapping[str, str]]) -> tuple[Split, list[bool]]:
        """The rows as a Split of this task, and which of them were truncated."""
        task, family = self.task, self._read.family
        tokenizer = self.model.backbone.tokenizer
        answer_of = answering(tokenizer, task, family, self._read.head)
        truncate = partial(released_spans, task, family) if self._read.truncate_as_released else task.truncate
        made: list[tuple[Example, bool]] = []
        for number, fields in enumerate(rows, 1):
            _check_fields(task, self.fields, fields, number)
            row = {"id": str(number), "fields": dict(fields)}
            text_of = partial(render, task, family)
            made.append(encode(tokenizer, family, self._read.head, text_of, answer_of(row), row, truncate,
                               self._read.max_tokens))  # fmt: skip
        no_label = [{"id": str(number), "label": 0} for number in range(1, len(rows) + 1)]
        split = gather([example for example, _ in made], no_label)
        return split.of_task(self.number), [cut for _, cut in made]


def root_of(folder: Path) -> Path:
    """The project that a training's folder lies in. Raises UserError where there is none."""
    for parent in folder.parents:
        if parent.name == paths.RESULTS.name and (parent.parent / paths.TRAIN) in folder.parents:
            return parent.parent
    raise UserError(f"{folder}: lies in no project. A training is below {paths.TRAIN}, beside what it was trained on.")


def _task(tasks: list[str], name: str | None) -> str:
    if name is None and len(tasks) > 1:
        raise UserError(f"--task: the run serves {', '.join(tasks)}; say which of them your rows are of.")
    return one_of("--task", name or tasks[0], tasks, "the run was not trained on it")


def _check_backbone(root: Path, name: str, read: Mapping[str, str]) -> None:
    folder = paths.backbone(name).as_posix()
    for path, digest in read.items():
        if path.startswith(f"{folder}/") and (not (root / path).is_file() or files.sha256(root / path) != digest):
            raise UserError(
                f"{root / path}: is not the file that the run was trained on. Get that again: `python -m dp sync`, or "
                f"delete {folder} and run `snakemake --cores all`."
            )


def _check_task(name: str, read: Mapping[str, str]) -> None:
    path = file_of(name)
    for known, digest in read.items():
        if Path(known).name == path.name and project_digest(known) != digest:
            raise UserError(f"{known}: is another than when the run was trained; `git log {known}` shows what changed.")


def _check_fields(task: Task, needed: list[str], fields: Mapping[str, str], number: int) -> None:
    wanted = f"a row of task '{task.name}' has {', '.join(needed)}, each a text"
    for name in fields:
        if name not in task.fields:
            hint = nearest(name, task.fields)
            raise UserError(f"row {number}: there is no field {shown(repr(name))}{hint}; {wanted}.")
    for name in needed:
        if not isinstance(text := fields.get(name), str):
            raise UserError(f"row {number}: '{name}' is missing, or is no text; {wanted}.")
        if found := NO_TEXT.search(text):
            raise UserError(f"row {number}: '{name}' holds U+{ord(found[0]):04X}, which is no text. Take it out.")
    if not any(fields[name].strip() for name in needed):
        raise UserError(f"row {number}: nothing stands in {', '.join(needed)}, so there is nothing to predict.")


def _chosen(choices: Choices | None, row: int) -> dict[str, Any]:
    if choices is None:
        return {"split": None, "length": None, "pool": None}
    return {
        "split": int(choices.split[row]),
        "length": None if choices.length is None else int(choices.length[row]),
        "pool": None if choices.pool is None else choices.pool[row].tolist(),
    }
