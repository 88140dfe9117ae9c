"""The reported split as one run predicts it, and its metrics."""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from dp import files
from dp.backbones.families import load
from dp.classifier.classifier import classifier
from dp.classifier.classifier_config import ClassifierConfig
from dp.classifier.scoring import score
from dp.closed import Configuration
from dp.data import tokens
from dp.data.few_shot import rows_of
from dp.data.regime import Regime
from dp.data.splits import REPORTED, label_counts
from dp.numerics import seeds
from dp.numerics.devices import device
from dp.prompts.prompt import Choices
from dp.results import metrics
from dp.training import overflow
from dp.training.kept_scores import kept_scores
from dp.training.tuned import restored


class Union(Configuration):
    """The tasks that a run was trained on, in their order."""

    tasks: list[str]


class Condition(Configuration):
    """What a control changes of its variant's evaluation."""

    instances: Literal["own", "shuffled"]


class EvaluationConfig(ClassifierConfig):
    regime: str
    keep_model: bool = True
    random_weights: bool
    multitask: Union | None
    control: Condition | None


def evaluate(
    config: EvaluationConfig,
    tokens_in: Path,
    features_in: Path | None,
    backbone_in: Path | None,
    trained: Path | None,
    folder: Path,
) -> dict[str, Any]:
    """Write predictions.jsonl and metrics.json, and return their facts.

    features_in, backbone_in, trained: None where the variant reads no features, no backbone, or was not trained.
    """
    with device(config.compute) as where:
        splits, facts = tokens.load(tokens_in)
        reported, classes = splits[REPORTED], facts["classes"]
        train_rows, _ = rows_of(Regime.parse(config.regime), splits)
        counts = torch.tensor(label_counts(splits["train"].take(train_rows).rows, classes))
        majority = int(counts.argmax())
        random = ["random-weights"] if config.random_weights and backbone_in else []
        labels = sorted({*facts["labels"], *random})
        if trained and (ended := overflow.of(files.read_json(trained / "record.json")["made"])):
            files.write_jsonl(folder / "predictions.jsonl", [])
            gold = [row["label"] for row in reported.rows]
            absent = metrics.absent(gold, facts["metrics"], REPORTED, majority, ended["overflow"]["why"])
            files.write_json(folder / "metrics.json", absent)
            return ended | {"labels": sorted({*labels, overflow.STATUS}), "n": len(gold), "choices": {}}
        if trained and not config.keep_model:
            scores, choices = kept_scores(trained, config.task, len(reported)), None
        elif backbone_in:
            features = load_file(features_in / "features.safetensors")[REPORTED] if features_in else None
            scores, choices = _scores(config, backbone_in, features, trained, reported, classes, where, str(folder))
        else:
            scores, choices = (counts / counts.sum()).expand(len(reported), -1), None
        predictions = [
            {key: value for key, value in row.items() if key != "label"}
            | {
                "gold": row["label"],
                "prediction": int(scores[i].argmax()),
                "scores": [round(value, 6) for value in scores[i].tolist()],
                "tokens": len(reported.ids[i]),
            }
            | _choices_of(choices, i)
            for i, row in enumerate(reported.rows)
        ]
        files.write_jsonl(folder / "predictions.jsonl", predictions)
        computed = metrics.compute(predictions, facts["metrics"], classes, REPORTED, majority_class=majority)
        files.write_json(folder / "metrics.json", computed)
        return {"labels": labels, "n": len(predictions), "choices": _summary(choices)}


def _scores(
    config: EvaluationConfig,
    backbone_in: Path,
    features: Tensor | None,
    trained: Path | None,
    reported: tokens.Split,
    classes: int,
    where: str,
    progress: str,
) -> tuple[Tensor, Choices | None]:
    """Scores [R, C] and choices of the reported rows, from what was trained or, without it, the bare backbone.

    features: [R, H], or None.
    """
    backbone = load(backbone_in, config.family, config.backbone_head, config.compute.dtype, where)
    if trained is None:
        return score(classifier(config, backbone, [classes], [], where), reported, features, config, 0, progress)
    made = files.read_json(trained / "record.json")["made"]
    model, tuned = restored(trained, backbone, made["classes"], where)
    if config.multitask:
        reported = reported.of_task(config.multitask.tasks.index(config.task))
    if config.control and config.control.instances == "shuffled":
        assert features is not None
        features = features[seeds.other_row(len(reported), config.seed, "shuffled instances")]
    if features is not None and "shuffled_feature" in config.switches:
        features = features[seeds.other_row(len(reported), config.seed, "shuffled feature", REPORTED)]
    model.check_lengths(config.input_width or max(len(ids) for ids in reported.ids))
    # A draw of a step is that of the training, which may have gone on with another start's seed.
    config = config.model_copy(update={"seed": tuned.seed})
    return score(model, reported, features, config, made["selected_step"], progress)


def _choices_of(choices: Choices | None, row: int) -> dict[str, Any]:
    """`split`, `length` and `pool` of one row; None where the variant has no such thing."""
    found: dict[str, Any] = {"split": None, "length": None, "pool": None}
    if choices is not None:
        found["split"] = int(choices.split[row])
        found["length"] = None if choices.length is None else int(choices.length[row])
        found["pool"] = None if choices.pool is None else [round(value, 4) for value in choices.pool[row].tolist()]
    return found


def _summary(choices: Choices | None) -> dict[str, Any]:
    """What was chosen on the whole: rows per split and per length, and the mean weight of each prompt of the pool."""
    if choices is None:
        return {}
    found: dict[str, Any] = {"split": _counts(choices.split)}
    if choices.length is not None:
        found["length"] = _counts(choices.length)
    if choices.pool is not None:
        found["pool"] = [round(value, 4) for value in choices.pool.mean(0).tolist()]
    return found


def _counts(values: Tensor) -> dict[str, int]:
    return {str(value): count for value, count in sorted(Counter(values.tolist()).items())}
