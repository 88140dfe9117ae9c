"""Synthetic results of a small scale, without training, and the report made of them."""

import csv
import random
import shutil
from pathlib import Path

import yaml
from conftest import ROOT

from dp import cli, files, paths
from dp.evaluation import metrics
from dp.grid import cells, run_config, training
from dp.study import load

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
    """Result folders of all cells; `lines_of(cell)` are the predictions of one."""
    surroundings = {"dirty": dirty, "commit": "c" * 40}
    for backbone in study.scale.backbones:
        for task in study.scale.tasks[study.source]:
            made = {"rows": {"train": 80, "selection": 10, "validation": N}, "outputs": {}, "labels": ["subset"],
                    "available": {"train": 80, "selection": 10, "validation": 300},
                    "truncated": {"train": 7, "selection": 0, "validation": 5}}  # fmt: skip
            files.write_json(paths.tokens(study.scale_name, backbone, task) / "record.json", {"made": made})
    for cell in cells(study):
        folder = paths.evaluation(study.scale_name, cell.run)
        lines = lines_of(cell)
        files.write_jsonl(folder / "predictions.jsonl", lines)
        files.write_json(folder / "metrics.json", metrics.compute(lines, metric_names, 2, "validation", 0))
        made = {"labels": ["random-weights", "subset"], "n": N}
        record = {"asked": run_config(study, cell), "with": surroundings, "made": made}
        files.write_json(folder / "record.json", record)
        if shown := training(study, cell):
            folder = paths.train_run(study.scale_name, shown.run)
            selection = {40: 0.5, 80: 0.8, 120: 0.7}
            log = []
            for step in range(1, 121):
                log.append({"step": step, "loss": 2.0 / step + cell.seed, "splits": None})
                if step in selection:
                    log.append(
                        {"step": step, "selection": {"accuracy": selection[step], "loss": 1.0}, "best": step < 100}
                    )
            files.write_jsonl(folder / "steps.jsonl", log)
            made = {"trainable_parameters": 128, "steps": 120, "steps_before": 0, "selected_step": 80,
                    "step_seconds": 10.0 + cell.seed, "trials": 1, "setting": None}  # fmt: skip
            record = {"asked": run_config(study, cell), "with": surroundings, "made": made}
            files.write_json(folder / "record.json", record)


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


def one(rows, **values):
    (row,) = [row for row in rows if all(row[key] == value for key, value in values.items())]
    return row
