"""Synthetic results of a small scale, without training, and the report made of them."""

import csv
import random
import re
import shutil
from pathlib import Path

import yaml
from conftest import ROOT

from dp import files, paths
from dp.commands import cli
from dp.jobs.closure import code_digest, modules
from dp.jobs.inputs import inputs_of
from dp.jobs.job import SUMS
from dp.jobs.record import environment, sealed
from dp.results import metrics
from dp.study.resolve import jobs
from dp.study.study import load

SCALE = {
    "description": "Synthetic results.",
    "backbones": ["tiny-t5"],
    "source": "made_up",
    "tasks": {"made_up": ["alpha", "beta"]},
    "regimes": [{"kind": "full"}],
    "variants": ["majority", "fixed", "adap_ins_pos"],
    "seeds": [0],
    "prompt": {"length": 4},
    "training": {"steps": 120, "batch_size": 8, "evaluate_every": 40},
}
N = 100
GOLD = [0] * 60 + [1] * 40


def predictions(accuracy, seed=0, split=None):
    """N examples of which exactly `accuracy` are right, wrong ones drawn by seed."""
    wrong = set(random.Random(seed).sample(range(N), N - round(N * accuracy)))
    return [
        {"id": f"e{i}", "gold": gold, "prediction": 1 - gold if i in wrong else gold, "scores": [0.0, 0.0],
         "length": None, "pool": None, "split": split(i) if split else None,
         "group": f"e{i}", "cluster": f"e{i}", "tokens": 10}
        for i, gold in enumerate(GOLD)
    ]  # fmt: skip


def study_in(root, monkeypatch, **changes):
    shutil.copy(ROOT / "params.yaml", root / "params.yaml")
    (root / "workflow" / "scales").mkdir(parents=True, exist_ok=True)
    (root / "workflow" / "scales" / "synthetic.yaml").write_text(yaml.safe_dump(SCALE | changes))
    monkeypatch.chdir(root)
    return load(Path("."), {"scale": "synthetic"})


def write_results(study, lines_of, dirty=False, metric_names=("accuracy",)):
    """Every artifact that the study asks for, report apart, with its record; `lines_of(cell)` are predictions."""
    for artifact in jobs(study).values():
        match artifact.command:
            case "fetch-task":
                made = _text(artifact, "train.jsonl", "validation.jsonl")
            case "fetch-backbone":
                made = _text(artifact, "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
            case "tokenize":
                made = _text(artifact, "tokens.safetensors", "rows.json")
                made |= {"rows": {"train": 80, "selection": 10, "validation": N}, "labels": ["subset"],
                         "available": {"train": 80, "selection": 10, "validation": 300},
                         "truncated": {"train": 7, "selection": 0, "validation": 5}}  # fmt: skip
            case "features":
                made = _text(artifact, "features.safetensors")
            case "train":
                made = _training(artifact)
            case "evaluate":
                made = _evaluation(artifact, lines_of(artifact.cell), metric_names)
            case _:
                continue
        write_record(artifact, made, dirty)


def write_record(artifact, made, dirty=False):
    """The record of an artifact whose files are there; `made["outputs"]` holds their names."""
    code = {
        "digest": code_digest(artifact.command, artifact.family),
        "modules": modules(artifact.command, artifact.family),
    }
    outputs = vouch(artifact.folder, made["outputs"])
    made = made | {"status": "complete", "outputs": outputs, "started": "2026-01-02T03:04:05+00:00",
                   "wall_seconds": 12.5, "peak_memory_mib": 100, "gpu_peak_memory_mib": None}  # fmt: skip
    inputs = {path: digest for path, digest in inputs_of(artifact).items() if digest}  # made-up tasks have no file
    used = {"inputs": inputs, "code": code}
    surroundings = environment() | {"dirty": dirty, "commit": "c" * 40}
    record = {"command": artifact.command, "asked": artifact.asked, "used": used, "with": surroundings, "made": made}
    files.write_json(artifact.folder / "record.json", sealed(record))


def _text(artifact, *names):
    for name in names:
        if not (artifact.folder / name).exists():
            files.write_text(artifact.folder / name, f"{artifact.folder}/{name}")
    return {"outputs": names}


def _training(artifact):
    made = _text(artifact, "tuned.safetensors", "config.json")
    selection = {40: 0.5, 80: 0.8, 120: 0.7}
    log = []
    for step in range(1, 121):
        log.append({"step": step, "loss": 2.0 / step + artifact.cell.seed, "splits": None})
        if step in selection:
            log.append({"step": step, "selection": {"accuracy": selection[step], "loss": 1.0}, "best": step < 100})
    files.write_jsonl(artifact.folder / "steps.jsonl", log)
    return {"outputs": [*made["outputs"], "steps.jsonl"], "trainable_parameters": 128, "steps": 120, "steps_before": 0,
            "selected_step": 80, "step_seconds": 10.0 + artifact.cell.seed, "trials": 1, "setting": None}  # fmt: skip


def _evaluation(artifact, lines, metric_names):
    if "position" in artifact.asked["definition"]:  # every prompt has a split
        lines = [line | {"split": 4 if line["split"] is None else line["split"]} for line in lines]
    files.write_jsonl(artifact.folder / "predictions.jsonl", lines)
    found = metrics.compute(lines, metric_names, 2, "validation", 0)
    files.write_json(artifact.folder / "metrics.json", found)
    return {"outputs": ["predictions.jsonl", "metrics.json"], "labels": ["random-weights", "subset"], "n": N}


def change(path, change_of):
    """Edit a record or a log as its job would have written it: the record keeps its seal and its digests."""
    if path.suffix == ".json":
        files.write_json(path, change_of(files.read_json(path)))
    else:
        files.write_jsonl(path, change_of(files.read_jsonl(path)))
    reseal(path.parent)


def reseal(folder):
    """Make the record of a folder vouch for what lies there."""
    record = {key: value for key, value in files.read_json(folder / "record.json").items() if key != "seal"}
    record["made"]["outputs"] = vouch(folder, [name for name in record["made"]["outputs"] if name != SUMS])
    files.write_json(folder / "record.json", sealed(record))


def vouch(folder, names):
    """Write SHA256SUMS of some files of a folder; the digests of all of them."""
    digests = {name: files.sha256(folder / name) for name in names}
    files.write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))
    return digests | {SUMS: files.sha256(folder / SUMS)}


ACCURACY = {"majority": 0.6, "fixed": 0.61, "adap_ins_pos": 0.9}


def planted(cell):
    if cell.variant == "majority":
        return [line | {"prediction": 0} for line in predictions(1.0)]
    return predictions(ACCURACY[cell.variant], split=lambda i: i % 2 * 3 if cell.variant == "adap_ins_pos" else 4)


def report(*settings):
    cli.main(["report", "--set", "scale=synthetic", *(part for s in settings for part in ("--set", s))])
    return paths.report("synthetic")


def table(folder):
    with (folder / "results.csv").open() as file:
        return list(csv.DictReader(file))


def unpadded(text):
    """Markdown whose tables have cells of any width."""
    return re.sub(r" {2,}", " ", text)


def one(rows, **values):
    (row,) = [row for row in rows if all(row[key] == value for key, value in values.items())]
    return row
