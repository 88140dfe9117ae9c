"""Predict the reported split with one run and compute its metrics."""

import argparse

import torch
from safetensors.torch import load_file

from dp import files
from dp.backbones.load import load
from dp.classifier import classifier
from dp.commands import common
from dp.data import tokens
from dp.devices import device
from dp.evaluation import metrics
from dp.evaluation.predict import score
from dp.lineage.record import outputs_of, recording
from dp.regimes import rows_of
from dp.training.state import load_tuned

REPORTED = "validation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", required=True, help="backbone/regime/task/variant/seed<n>")


def run(arguments: argparse.Namespace) -> None:
    this = common.run_of(arguments)
    config, folder = this.config, this.evaluation
    inputs = outputs_of(this.tokens)
    for used, upstream in (
        (this.needs_backbone, this.backbone),
        (this.is_trained, this.train),
        (this.needs_features, this.features),
    ):
        inputs |= outputs_of(upstream) if used else {}

    with (
        device(config["compute"]) as where,
        recording(folder, "evaluate", config, inputs, ["predictions.jsonl", "metrics.json"]) as made,
    ):
        splits, facts = tokens.load(this.tokens)
        reported = splits[REPORTED]
        train_labels = torch.tensor([splits["train"].rows[i]["label"] for i in rows_of(config["regime"], splits)[0]])
        counts = torch.bincount(train_labels, minlength=len(facts["words"]))
        if this.needs_backbone:
            backbone = load(this.backbone, config["family"], config["compute"]["dtype"], where)
            model = classifier(config, backbone, facts["words"], where)
            if this.is_trained:
                load_tuned(model.tuned, this.train / "tuned.safetensors")
            features = load_file(this.features / "features.safetensors")[REPORTED] if this.needs_features else None
            scores, chosen = score(model, reported, features, config, progress=str(folder))
        else:
            scores, chosen = (counts / counts.sum()).expand(len(reported), -1), None
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
        random = ["random-weights"] if config["random_weights"] and this.needs_backbone else []
        made |= {"labels": sorted({*facts["labels"], *random}), "n": len(predictions)}
