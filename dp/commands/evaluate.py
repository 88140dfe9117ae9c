"""Predict the reported split with one run and compute its metrics."""

import argparse

import torch
from safetensors.torch import load_file

from dp import files, grid, paths
from dp.backbones.load import load
from dp.classifier import classifier
from dp.commands import common
from dp.data import tokens
from dp.devices import device
from dp.evaluation import metrics
from dp.evaluation.predict import score
from dp.lineage.record import outputs_of, recording
from dp.regimes import rows_of
from dp.training.state import trainable

REPORTED = "validation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="backbone/regime/task/variant/seed<n>")


def run(arguments: argparse.Namespace) -> None:
    study = common.study(arguments)
    cell = common.cell(study, arguments.run)
    config = grid.run_config(study, cell)
    folder = paths.evaluation(study.scale_name, cell.run)
    token_folder = paths.tokens(study.scale_name, cell.backbone, cell.task)
    feature_folder = paths.features(study.scale_name, cell.backbone, cell.task)
    train_folder = paths.train_run(study.scale_name, cell.run)
    weights = paths.backbone(cell.backbone)
    majority = config["definition"].get("baseline") == "majority"
    instance = grid.needs_features(study, cell.variant)
    inputs = outputs_of(token_folder)
    for used, upstream in (
        (not majority, weights),
        (grid.is_trained(study, cell.variant), train_folder),
        (instance, feature_folder),
    ):
        inputs |= outputs_of(upstream) if used else {}

    with (
        device(config["compute"]) as where,
        recording(folder, "evaluate", config, inputs, ["predictions.jsonl", "metrics.json"]) as made,
    ):
        splits, facts = tokens.load(token_folder)
        reported = splits[REPORTED]
        train_labels = torch.tensor([splits["train"].rows[i]["label"] for i in rows_of(cell.regime, splits)[0]])
        counts = torch.bincount(train_labels, minlength=len(facts["words"]))
        if majority:
            scores, chosen = (counts / counts.sum()).expand(len(reported), -1), None
        else:
            backbone = load(weights, config["family"], config["compute"]["dtype"], where)
            model = classifier(config, backbone, facts["words"], where)
            if grid.is_trained(study, cell.variant):
                tuned = load_file(train_folder / "tuned.safetensors")
                with torch.no_grad():
                    for name, parameter in trainable(model.tuned).items():
                        parameter.copy_(tuned.pop(name))
                assert not tuned, f"tuned.safetensors holds unknown tensors: {sorted(tuned)}"
            features = load_file(feature_folder / "features.safetensors")[REPORTED] if instance else None
            scores, chosen = score(model, reported, features, config, progress=str(folder))
        predictions = [
            row | {
                "gold": row["label"],
                "prediction": int(scores[i].argmax()),
                "scores": [round(value, 6) for value in scores[i].tolist()],
                "split": None if chosen is None else int(chosen[i]),
                "tokens": len(reported.ids[i]),
            }
            for i, row in enumerate(reported.rows)
        ]  # fmt: skip
        for prediction in predictions:
            del prediction["label"]
        files.write_jsonl(folder / "predictions.jsonl", predictions)
        found = metrics.compute(
            predictions, facts["metrics"], len(facts["words"]), REPORTED, majority_class=int(counts.argmax())
        )
        files.write_json(folder / "metrics.json", found)
        labels = set(facts["labels"]) | ({"random-weights"} if config["random_weights"] and not majority else set())
        made |= {"labels": sorted(labels), "n": len(predictions)}
