"""One training, or one trial of a search."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from dp import files
from dp.backbones.backbone import Backbone
from dp.backbones.families import load
from dp.classifier.classifier import Classifier, classifier
from dp.classifier.scoring import score
from dp.data import tokens
from dp.data.few_shot import rows_of
from dp.data.regime import Regime
from dp.data.splits import REPORTED, label_counts
from dp.errors import Interrupted, UserError
from dp.numerics import seeds, tensors
from dp.numerics.devices import device
from dp.numerics.finite import check_finite
from dp.training import overflow
from dp.training.advance import Begin, Clock, Outcome, Passes, Training, together
from dp.training.fitting import fitting_parts
from dp.training.kept_scores import name_of
from dp.training.loop import Rows, updates
from dp.training.loop import train as tune
from dp.training.loop_config import LoopConfig
from dp.training.signals import stop_requests
from dp.training.starts import forget, started
from dp.training.state import State, load_choice, restore, resumable
from dp.training.trials import applied


class TrainingConfig(LoopConfig):
    """keep_model: whether a fine-tuned run keeps its model. trial: of a search, what is tried; None: no trial."""

    regime: str
    keep_model: bool = True
    trial: dict[str, Any] | None = None


class TrainingRequest(NamedTuple):
    """One training.

    asked: a TrainingConfig but for what a search chose, as plain values; config.json holds it with that, and with the
    seed of the start that went on.
    tokens_in, features_in: by task, in the order of a union; no features where the variant reads none. policies: factor
    -> the run that learned the choice which this one keeps frozen. choice: of a search. identity: a state that a
    stopped call left in `folder` is resumed if it is of the same one, under the same setting.
    """

    asked: dict[str, Any]
    backbone_in: Path
    tokens_in: Mapping[str, Path]
    features_in: Mapping[str, Path]
    policies: Mapping[str, Path]
    choice: Path | None
    folder: Path
    identity: str

    def mark(self, seed: int) -> str:
        """Of a state: what decides the bytes of this training under a seed."""
        return files.digest([self.asked | {"seed": seed}, self.identity])


class Prepared(NamedTuple):
    """What a training needs before its first update. request: with what a search chose in what is asked."""

    request: TrainingRequest
    config: TrainingConfig
    setting: dict[str, Any] | None
    trials: int
    train_rows: Rows
    selection: list[Rows]
    facts: list[dict[str, Any]]
    counts: dict[str, Any]

    def build(self, seed: int, backbone: Backbone) -> Classifier:
        """The untrained classifier, of the backbone as it was loaded."""
        words = sorted({int(word) for rows in self.selection for word in rows.split.outputs.flatten() if word >= 0})
        own, classes = self.config.model_copy(update={"seed": seed}), [fact["classes"] for fact in self.facts]
        model = classifier(own, backbone, classes, words, str(backbone.model.device))
        model.fit_features(self.train_rows.features)
        for factor, source in self.request.policies.items():
            load_choice(model.kept(), factor, source / "tuned.safetensors")
        return model


def train(request: TrainingRequest) -> dict[str, Any]:
    """Write tuned.safetensors, config.json and steps.jsonl, and return their facts."""
    one = _prepared(request)
    request, config, folder, identity = one.request, one.config, one.request.folder, one.request.mark
    with device(config.compute) as where:

        def build(seed: int) -> Classifier:
            return one.build(seed, _backbone(request, config, where))

        if ended := _ended(request.policies.values()):
            outcome = overflow.inherited(build(config.seed), ended)
            files.write_jsonl(folder / "steps.jsonl", [])
        else:
            held_out = one.selection
            if "select_on_reported" in config.switches:
                _, held_out, _, _ = rows_of_run(request.tokens_in, request.features_in, config, held_out=True)
            seed, said = started(build, one.train_rows, one.selection, held_out, config, folder, identity)
            config = config.model_copy(update={"seed": seed})
            model = build(seed)
            outcome = said | tune(model, one.train_rows, one.selection, config, folder, identity(seed))
            one = one._replace(request=request._replace(asked=request.asked | {"seed": seed}))
            if not config.keep_model:
                outcome["tensors"] = _scores(model, outcome, request.tokens_in, config) if config.trial is None else {}
    return _written(one, outcome)


def train_together(requests: Sequence[TrainingRequest]) -> list[Outcome]:
    """Write what `train` does for each of several trainings of one variant, that share the passes of their backbone.

    An outcome each: its facts, or why there are none. Which may share: `dp.study.grid.together`. One whose source
    overflowed makes no pass, so that it is made by itself.
    """
    every: dict[Path, Outcome] = {one.folder: train(one) for one in requests if _ended(one.policies.values())}
    prepared = {one.folder: _prepared(one) for one in requests if one.folder not in every}
    states = {folder: State(folder, one.request.mark(one.config.seed), True) for folder, one in prepared.items()}
    if prepared:
        every |= _shared(prepared, states)
    stopped = next((one for one in every.values() if isinstance(one, Interrupted)), None)
    if stopped:  # what ended before waits with the others for the next call
        return [stopped] * len(requests)
    for folder, state in states.items():
        outcome = every[folder]
        if isinstance(outcome, dict):
            try:
                every[folder] = _written(prepared[folder], outcome)
                state.put_log(folder / "steps.jsonl")
            except UserError as error:
                every[folder] = error
    if not any(isinstance(one, Exception) for one in every.values()):
        for state in states.values():
            state.forget()
    return [every[one.folder] for one in requests]


def _shared(prepared: Mapping[Path, Prepared], states: Mapping[Path, State]) -> dict[Path, Outcome]:
    """Train what has not ended in a call before."""
    before = resumable(states)
    left = [folder for folder in prepared if folder not in before]
    outcomes: dict[Path, Outcome] = {
        folder: UserError(facts["failed"]) if "failed" in facts else facts for folder, facts in before.items()
    }
    first = next(iter(prepared.values()))
    with device(first.config.compute) as where:
        backbone = _backbone(first.request, first.config, where)
        models = {folder: one.build(one.config.seed, backbone) for folder, one in prepared.items()}
        parts = fitting_parts(list(models.values()), *first.train_rows, first.config)
        passes = Passes(backbone, parts, first.config.torch_compile)

        def begun(folder: Path, shown: str) -> Begin:
            one = prepared[folder]

            def begin(clock: Clock, stop: Sequence[object]) -> Training:
                return updates(models[folder], one.train_rows, one.selection, one.config, folder, states[folder], stop,
                               clock, shown=shown)  # fmt: skip

            return begin

        def ended(folder: Path, outcome: dict[str, Any] | UserError) -> None:
            state = states[folder]
            if isinstance(outcome, UserError):
                state.end({"failed": str(outcome)}, state.logged() + 1)
            else:
                stopped = overflow.of(outcome)
                outcome |= passes.facts()
                state.end(outcome, stopped["overflow"]["update"] if stopped else outcome["steps"])

        names = [f"{folder} with {len(left) - 1} more" if folder == left[0] else "" for folder in left]
        trainings = {folder: begun(folder, name) for folder, name in zip(left, names, strict=True)}
        with stop_requests() as stop:
            return outcomes | together(trainings, passes, stop, ended)


def _prepared(request: TrainingRequest) -> Prepared:
    asked = request.asked
    setting, trials = asked["trial"], asked["search"]["trials"] if asked["search"] else 1
    if request.choice:
        setting = files.read_json(request.choice / "choice.json")["setting"]
        request = request._replace(asked=applied(asked, setting))
    config = TrainingConfig.model_validate(request.asked)
    return Prepared(request, config, setting, trials, *rows_of_run(request.tokens_in, request.features_in, config))


def _backbone(request: TrainingRequest, config: TrainingConfig, where: str) -> Backbone:
    return load(request.backbone_in, config.family, config.backbone_head, config.compute.dtype, where)


def _written(one: Prepared, outcome: dict[str, Any]) -> dict[str, Any]:
    """The outputs but for the log of steps, and the facts of the record."""
    folder, tuned = one.request.folder, outcome["tensors"]
    check_finite(tuned, str(folder), "Nothing is saved; lower the learning rate.")
    tensors.save(tuned, folder / "tuned.safetensors")
    files.write_json(folder / "config.json", one.request.asked)
    forget(folder)
    return {key: value for key, value in outcome.items() if key != "tensors"} | {
        "labels": sorted({label for fact in one.facts for label in fact["labels"]}),
        "trials": one.trials,
        "setting": one.setting,
        "classes": [fact["classes"] for fact in one.facts],
        "label_counts": one.counts,
        "steps_before": sum(_steps(source) for source in one.request.policies.values()),
    }


def rows_of_run(
    tokens_in: Mapping[str, Path], features_in: Mapping[str, Path], config: TrainingConfig, held_out: bool = False
) -> tuple[Rows, list[Rows], list[dict[str, Any]], dict[str, Any]]:
    """The rows to train on; by task, the rows to select by and the facts; and the rows of each class, by task.

    held_out: the rows to select by are those held out of the train split, whatever the run selects on.
    """
    parts: list[tuple[tokens.Split, Tensor | None]] = []
    selection, facts, counts = [], [], {}
    reported = "select_on_reported" in config.switches and not held_out
    for number, (task, folder) in enumerate(tokens_in.items()):
        splits, fact = tokens.load(folder)
        facts.append(fact)
        train_numbers, numbers = rows_of(Regime.parse(config.regime), splits)
        cached = load_file(features_in[task] / "features.safetensors") if features_in else None
        if cached and "shuffled_feature" in config.switches:
            cached = {name: found[seeds.other_row(len(found), config.seed, "shuffled feature", name)]
                      for name, found in cached.items()}  # fmt: skip
        parts.append((splits["train"].take(train_numbers), cached["train"][train_numbers] if cached else None))
        name = REPORTED if reported else "selection"
        chosen = list(range(len(splits[name]))) if reported else numbers
        own = splits[name].take(chosen)
        own = replace(own, tasks=torch.full_like(own.tasks, number))
        selection.append(Rows(own, cached[name][chosen] if cached else None))
        counts[task] = {
            "train": label_counts(parts[-1][0].rows, fact["classes"]),
            "selection": label_counts(own.rows, fact["classes"]),
        }
    found = [features for _, features in parts if features is not None]
    train_rows = Rows(tokens.union([split for split, _ in parts]), torch.cat(found) if found else None)
    return train_rows, selection, facts, counts


def _scores(
    model: Classifier, outcome: Mapping[str, Any], tokens_in: Mapping[str, Path], config: TrainingConfig
) -> dict[str, Tensor]:
    """By task, what the selected model says of the reported rows, [R, C]."""
    restore(model.kept(), outcome["tensors"])
    found = {}
    for number, (task, folder) in enumerate(tokens_in.items()):
        reported = tokens.load(folder)[0][REPORTED].of_task(number)
        model.check_lengths(config.input_width or max(len(ids) for ids in reported.ids))
        found[name_of(task)], _ = score(model, reported, None, config, outcome["selected_step"])
    return found


def _ended(sources: Iterable[Path]) -> dict[str, Any] | None:
    """The status that a source ended in: a choice that was never learned is not frozen and trained on."""
    made = [files.read_json(source / "record.json")["made"] for source in sources]
    return next((ended for one in made if (ended := overflow.of(one))), None)


def _steps(source: Path) -> int:
    made = files.read_json(source / "record.json")["made"]
    return made["steps"] + made["steps_before"] + made.get("other_starts", {}).get("steps", 0)
