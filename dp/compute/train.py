"""One training, or one trial of a search."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from dp import files
from dp.backbones.families import load
from dp.classifier.classifier import Classifier, classifier
from dp.classifier.scoring import score
from dp.data import tokens
from dp.data.few_shot import rows_of
from dp.data.regime import Regime
from dp.data.splits import REPORTED, label_counts
from dp.numerics import seeds, tensors
from dp.numerics.devices import device
from dp.numerics.finite import check_finite
from dp.training import overflow
from dp.training.kept_scores import name_of
from dp.training.loop import Rows
from dp.training.loop import train as tune
from dp.training.loop_config import LoopConfig
from dp.training.starts import forget, started
from dp.training.state import load_choice, restore
from dp.training.trials import applied


class TrainingConfig(LoopConfig):
    """keep_model: whether a fine-tuned run keeps its model. trial: of a search, what is tried; None: no trial."""

    regime: str
    keep_model: bool = True
    trial: dict[str, Any] | None = None


def train(
    asked: dict[str, Any],
    backbone_in: Path,
    tokens_in: Mapping[str, Path],
    features_in: Mapping[str, Path],
    policies: Mapping[str, Path],
    choice: Path | None,
    folder: Path,
    identity: str,
) -> dict[str, Any]:
    """Write tuned.safetensors, config.json and steps.jsonl, and return their facts.

    asked: a TrainingConfig but for what a search chose, as plain values; config.json holds it with that, and with the
    seed of the start that went on.
    tokens_in, features_in: by task, in the order of a union; no features where the variant reads none. policies: factor
    -> the run that learned the choice which this one keeps frozen. choice: of a search. identity: a state that a
    stopped call left in `folder` is resumed if it is of the same one, under the same setting.
    """
    setting, trials = asked["trial"], asked["search"]["trials"] if asked["search"] else 1
    if choice:
        setting = files.read_json(choice / "choice.json")["setting"]
        asked = applied(asked, setting)
    config = TrainingConfig.model_validate(asked)
    with device(config.compute) as where:
        train_rows, selection, facts, counts = rows_of_run(tokens_in, features_in, config)
        words = sorted({int(word) for rows in selection for word in rows.split.outputs.flatten() if word >= 0})

        def build(seed: int) -> Classifier:
            own = config.model_copy(update={"seed": seed})
            backbone = load(backbone_in, config.family, config.backbone_head, config.compute.dtype, where)
            model = classifier(own, backbone, [fact["classes"] for fact in facts], words, where)
            model.fit_features(train_rows.features)
            for factor, source in policies.items():
                load_choice(model.kept(), factor, source / "tuned.safetensors")
            return model

        if ended := _ended(policies.values()):
            outcome = overflow.inherited(build(config.seed), ended)
            files.write_jsonl(folder / "steps.jsonl", [])
        else:

            def mark(seed: int) -> str:
                return files.digest([asked | {"seed": seed}, identity])

            held_out = selection
            if "select_on_reported" in config.switches:
                _, held_out, _, _ = rows_of_run(tokens_in, features_in, config, held_out=True)
            seed, said = started(build, train_rows, selection, held_out, config, folder, mark)
            config = config.model_copy(update={"seed": seed})
            model = build(seed)
            outcome = said | tune(model, train_rows, selection, config, folder, mark(seed))
            asked = asked | {"seed": seed}
            if not config.keep_model:
                outcome["tensors"] = _scores(model, outcome, tokens_in, config) if config.trial is None else {}
    tuned = outcome.pop("tensors")
    check_finite(tuned, str(folder), "Nothing is saved; lower the learning rate.")
    tensors.save(tuned, folder / "tuned.safetensors")
    files.write_json(folder / "config.json", asked)
    forget(folder)
    return outcome | {
        "labels": sorted({label for fact in facts for label in fact["labels"]}),
        "trials": trials,
        "setting": setting,
        "classes": [fact["classes"] for fact in facts],
        "label_counts": counts,
        "steps_before": sum(_steps(source) for source in policies.values()),
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
