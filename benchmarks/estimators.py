"""Estimators of a choice on the planted world, over pre-training seeds: how many runs reach an oracle's ceiling, at
what cost, and how good the gradient is.

    python benchmarks/estimators.py [--worlds 5] [--seeds 10] [--jobs 2] [--out estimators] [--task planted_cue_end]
                                    [--steps 400] [--only "marginal, 2 samples"]

Needs what trainings of scale planted read: `snakemake --cores all --config scale=planted -- tokenize`. Writes
<out>/runs.csv (a row per training), <out>/gradients.csv and <out>/estimators.md. An oracle has the planted choice and
learns the prompt alone; its ceiling on a task and a world (a pre-training seed) is its best seed's accuracy on the
reported rows, and a run is *solved* within 3 points of it. On the null task each estimator is held against `fixed`, by
worlds: two one-sided tests with a margin of 2 points. Gradients: of the choice's parameters at a uniform choice, with
the prompt after half of a training by `exact`, on one batch of 32 rows, 200 draws, against the gradient of `exact`, of
the expected loss; norms are relative to that gradient's. --task, --steps, --only: one task alone, another number of
updates, one estimator beside oracle and fixed.
"""

import argparse
import contextlib
import copy
import io
import itertools
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.progress import track
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from dp import files, paths
from dp.backbones.families import load
from dp.classifier.classifier import Classifier, classifier
from dp.classifier.scoring import score
from dp.compute.train import TrainingConfig, rows_of_run
from dp.data import tokens
from dp.data.batches import collate
from dp.jobs.job import Cell
from dp.prompts import estimators
from dp.prompts.choice import Moment
from dp.results import table
from dp.statistics import ALPHA
from dp.statistics.intervals import of_values
from dp.statistics.p_values import gap, p_equivalent
from dp.study.resolve import training_job
from dp.study.study import Study
from dp.study.study import load as load_study
from dp.training.loop import Rows, expected_losses, train
from dp.training.starts import started

ESTIMATORS: dict[str, dict[str, Any]] = {
    "straight_through, raw feature (the paper's)": {"estimator": "straight_through", "switches": ["raw_feature"]},
    "straight_through": {"estimator": "straight_through"},
    "reinforce, 3 samples, raw feature": {"estimator": "reinforce", "samples": 3, "switches": ["raw_feature"]},
    "reinforce, 3 samples": {"estimator": "reinforce", "samples": 3},
    "reinforce, 4 samples": {"estimator": "reinforce", "samples": 4},
    "exact": {"estimator": "exact"},
    "marginal, 2 samples": {"estimator": "marginal", "samples": 2},
    "marginal, 3 samples": {"estimator": "marginal", "samples": 3},
}
EXPECTED = [name for name, settings in ESTIMATORS.items() if settings["estimator"] != "marginal" and name != "exact"]
"""Those that estimate the gradient of the expected loss."""
MARGIN_OF_NULL = 0.02
CELLS = {  # factor, and the planted candidate of each question
    ("full", "planted_cue_end", "adap_ins_pos"): ("position", {"word 1, feature 0": 2, "word -1, feature 0": 0}),
    ("full", "planted_cue_distance", "adap_ins_length"): ("length", {"word 1, feature 0": 2, "word 2, feature 0": 1}),
    ("full", "planted_first", "adap_ins_pos"): ("position", {"word 1, feature 0": 2}),
}
NULL = "planted_first"
ORACLE = "oracle"
DRAWS, MARGIN, REPORTED = 200, 0.03, 400
SCALE = "planted"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("estimators"))
    parser.add_argument("--task", choices=[task for _, task, _ in CELLS])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--only", choices=list(ESTIMATORS))
    arguments = parser.parse_args()
    cells = [cell for cell in CELLS if arguments.task in (None, cell[1])]
    seeds, worlds = range(100, 100 + arguments.seeds), range(arguments.worlds)
    names = [arguments.only] if arguments.only else list(ESTIMATORS)
    with ProcessPoolExecutor(arguments.jobs, get_context("spawn")) as pool:
        grid = itertools.product(worlds, cells, (ORACLE, "fixed", *names), seeds)
        asked = [(*one, arguments.steps) for one in grid]
        runs = list(track(pool.map(trained, *zip(*asked, strict=True)), "trainings", len(asked)))
        about = [(cell, name) for cell in cells for name in names if name in EXPECTED]
        gradients = list(pool.map(gradient, *zip(*about, strict=True))) if about else []
    files.write_text(arguments.out / "runs.csv", table.to_csv(runs[0], runs))
    if gradients:
        files.write_text(arguments.out / "gradients.csv", table.to_csv(gradients[0], gradients))
    files.write_text(arguments.out / "estimators.md", report(runs, gradients))


def trained(world: int, cell: tuple[str, str, str], name: str, seed: int, steps: int | None) -> dict[str, Any]:
    """One training and its accuracy on the reported rows."""
    study = load_study(settings={"scale": SCALE})
    rows, selection, config, build, reported = _prepared(study, world, cell, name, seed)
    config = _shorter(config, steps or config.training.steps)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        best, facts = started(build, rows, selection, selection, config, Path(folder), str)
        config, model = config.model_copy(update={"seed": best}), build(best)
        outcome = train(model, rows, selection, config, Path(folder), str(best))
    with torch.no_grad():
        for key, value in model.kept().items():
            value.copy_(outcome["tensors"][key])
    scores, _ = score(model, *reported, config, 0)
    labels = torch.tensor([row["label"] for row in reported.split.rows])
    accuracy = (scores.argmax(1) == labels).float().mean().item()
    seconds = table.seconds_of({"made": outcome | facts})
    return {"task": cell[1], "variant": cell[2], "estimator": name, "world": world, "seed": seed, "accuracy": accuracy,
            "seconds": seconds, "passes": outcome["forward_passes_per_row"]}  # fmt: skip


def gradient(cell: tuple[str, str, str], name: str) -> dict[str, Any]:
    """Bias and standard deviation of a choice's gradient under one estimator, relative to the exact one's norm."""
    study = load_study(settings={"scale": SCALE})
    raw = ESTIMATORS[name].get("switches", [])
    start = "reinforce, 3 samples, raw feature" if raw else "exact"
    rows, selection, config, build, _ = _prepared(study, 0, cell, start, 100)
    model = build(config.seed)
    assert config.choice is not None
    config = _shorter(config, config.training.steps // 2)
    config = config.model_copy(update={"choice": config.choice.model_copy(update={"estimator": "exact"})})
    assert model.prompt is not None
    model.prompt.copies = study.scale.prompt.length + 1
    policy = getattr(model.prompt, CELLS[cell][0]).policy
    policy.estimator = estimators.ESTIMATORS["exact"]
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        train(model, rows, selection, config, Path(folder), "benchmark")
    with torch.no_grad():
        for value in policy.parameters():
            value.zero_()
    exact = _gradient(model, rows, "exact", study.scale.prompt.length + 1, 0)
    settings = ESTIMATORS[name]
    copies = settings.get("samples", 1)
    found = torch.stack([_gradient(model, rows, settings["estimator"], copies, draw) for draw in range(DRAWS)])
    deviation = found.var(0).sum().sqrt()
    return {"task": cell[1], "variant": cell[2], "estimator": name,
            "bias": ((found.mean(0) - exact).norm() / exact.norm()).item(),
            "bias_by_chance": (deviation / DRAWS**0.5 / exact.norm()).item(),
            "deviation": (deviation / exact.norm()).item(),
            "cosine": functional.cosine_similarity(found.mean(0), exact, dim=0).item()}  # fmt: skip


def _shorter(config: TrainingConfig, steps: int) -> TrainingConfig:
    return config.model_copy(update={"training": config.training.model_copy(update={"steps": steps})})


def _gradient(model: Classifier, rows: Rows, estimator: str, copies: int, draw: int) -> Tensor:
    """The gradient of the choice's parameters on the first 32 training rows, flat."""
    assert model.prompt is not None
    policies = [module for module in (model.prompt.position.policy, model.prompt.length and model.prompt.length.policy)
                if module is not None]  # fmt: skip
    for policy in policies:
        policy.estimator = estimators.ESTIMATORS[estimator]
    batch = collate(rows.split, list(range(32)), rows.features).repeated(copies)
    moment = Moment(draw, 0, 0, batch.rows, training=True, draws=True, copies=copies)
    losses = expected_losses(*model(batch, moment), batch, moment, estimator)
    parameters = [value for policy in policies for value in policy.parameters()]
    found = torch.autograd.grad(losses.mean(), parameters)
    return torch.cat([part.flatten() for part in found])


def _prepared(
    study: Study, world: int, cell: tuple[str, str, str], name: str, seed: int
) -> tuple[Rows, list[Rows], TrainingConfig, Callable[[int], Classifier], Rows]:
    """Training rows, selection rows, configuration, model by seed, and reported rows of one training."""
    regime, task, variant = cell
    factor, candidates = CELLS[cell]
    job = training_job(study, Cell(f"planted-t5-{world}", regime, task, "fixed" if name == "fixed" else variant, seed))
    asked = copy.deepcopy(job.asked)
    settings = dict(ESTIMATORS.get(name, {}))
    asked["switches"] = [*asked["switches"], *settings.pop("switches", ["raw_feature"] if name == ORACLE else [])]
    if asked["choice"]:
        asked["choice"] |= settings
    if name == ORACLE:
        asked["learned"] = {factor: "instance"}  # frozen
        asked["definition"][factor] = {"learned_by": "an oracle"}
    torch.set_num_threads(1)
    config = TrainingConfig.model_validate(asked)
    rows, selection, facts, _ = rows_of_run(job.all("tokens"), job.all("features"), config)
    splits, _ = tokens.load(job.all("tokens")[task])
    cached = load_file(features / "features.safetensors")["validation"] if (features := job.get("features")) else None
    reported = Rows(splits["validation"], cached)
    if name == ORACLE:
        rows, selection, reported = (_knowing(task, rows), [_knowing(task, one) for one in selection],
                                     _knowing(task, reported))  # fmt: skip

    def build(seed: int) -> Classifier:
        backbone = load(job.the("backbone"), config.family, config.backbone_head, "float32", "cpu")
        own = config.model_copy(update={"seed": seed})
        model = classifier(own, backbone, [facts[0]["classes"]], [], "cpu")
        model.fit_features(rows.features)
        if name == ORACLE:
            logits = getattr(model.prompt, factor).policy.logits
            with torch.no_grad():
                logits.weight.zero_()
                for number, candidate in enumerate(candidates.values()):
                    logits.weight[candidate, number] = 1.0
        return model

    return rows, selection, config, build, reported


def _knowing(task: str, rows: Rows) -> Rows:
    """The rows with the question that each asks, one-hot, as their feature."""
    (questions,) = (values for key, (_, values) in CELLS.items() if key[1] == task)
    folder = paths.task_rows(task, "made_up")
    asked = {row["id"]: row["fields"]["question"]
             for split in ("train", "validation") for row in files.read_jsonl(folder / f"{split}.jsonl")}  # fmt: skip
    assert rows.features is not None
    features = torch.zeros_like(rows.features)
    numbers = [list(questions).index(asked[row["id"]]) for row in rows.split.rows]
    features[torch.arange(len(numbers)), torch.tensor(numbers)] = 1.0
    return rows._replace(features=features)


def report(runs: list[dict[str, Any]], gradients: list[dict[str, Any]]) -> str:
    """The Markdown tables."""
    parts = []
    quality = {(row["task"], row["estimator"]): row for row in gradients}
    for task in dict.fromkeys(row["task"] for row in runs):
        own = [row for row in runs if row["task"] == task]
        worlds = list(dict.fromkeys(row["world"] for row in own))
        oracle = {world: max(accuracies(own, ORACLE, world)) for world in worlds}
        baseline = statistics.median(row["seconds"] for row in own if row["estimator"] == "fixed")
        ceiling = f"{100 * min(oracle.values()):.1f} or more"
        lines = [f"**{task}** ({own[0]['variant']}; the oracle's ceiling is {ceiling})", "",
                 "| choice learned by | passes | solved | mean [95 %, over worlds] | lowest | cost of fixed "
                 "| bias (by chance) | deviation |" + (" minus fixed, points: same? |" if task == NULL else ""),
                 "|---|---:|---:|---:|---:|---:|---:|---:|" + ("---:|" if task == NULL else "")]  # fmt: skip
        for name in dict.fromkeys(row["estimator"] for row in own):
            rows = [row for row in own if row["estimator"] == name]
            solved = sum(row["accuracy"] >= oracle[row["world"]] - MARGIN for row in rows)
            means = [statistics.fmean(accuracies(own, name, world)) for world in worlds]
            low, high = of_values(means)
            interval = "" if low is None or high is None else f" [{100 * low:.1f}, {min(100 * high, 100):.1f}]"
            cost = statistics.median(row["seconds"] for row in rows) / baseline
            one = quality.get((task, name))
            measured = f"{one['bias']:.2f} ({one['bias_by_chance']:.2f}) | {one['deviation']:.1f}" if one else " | "
            same = f" {against_fixed(own, name, worlds)} |" if task == NULL else ""
            lowest = 100 * min(row["accuracy"] for row in rows)
            lines.append(f"| {name} | {rows[0]['passes']} | {solved}/{len(rows)} "
                         f"| {100 * statistics.fmean(means):.1f}{interval} | {lowest:.1f} "
                         f"| {cost:.2f} | {measured} |{same}")  # fmt: skip
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def accuracies(runs: list[dict[str, Any]], name: str, world: int) -> list[float]:
    return [row["accuracy"] for row in runs if row["estimator"] == name and row["world"] == world]


def against_fixed(own: list[dict[str, Any]], name: str, worlds: list[int]) -> str:
    one, fixed = ([statistics.fmean(accuracies(own, side, world)) for world in worlds] for side in (name, "fixed"))
    found = gap(one, fixed, REPORTED, paired=len(worlds) > 1)
    p = p_equivalent(found, MARGIN_OF_NULL)
    return f"{100 * found.mean:+.1f}: {'yes' if p < ALPHA else 'not shown'}, p = {p:.3f}"


if __name__ == "__main__":
    main()
