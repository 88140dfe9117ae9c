"""Regimes over parts of the grid: which cells there are, and several unions that know nothing of each other."""

import csv

import pytest
from safetensors.torch import load_file, save_file
from small_project import Project, small_study
from synthetic_results import change, predictions, report, reseal, study_in, table, write_results
from test_predictions import WRITTEN, csv_of, predicted_study, write_all

from dp import files, paths
from dp.data.regime import Regime
from dp.jobs.job import Cell
from dp.study import grid

BACKBONES, TASKS = ["tiny-t5", "tiny-encoder"], ["toy", "second", "third", "fourth"]
VARIANTS = ["majority", "fixed", "adap_pos", "adap_pos-noise", "adap_pos-frozen", "zero-shot"]
REGIMES = [
    {"kind": "full", "tasks": ["toy"]},
    {"kind": "full", "tasks": ["third", "second"], "variants": ["fixed", "majority"]},
    {"kind": "fewshot", "k": [2], "sample_seeds": [0, 1], "variants": ["adap_pos", "adap_pos-noise"]},
    {"kind": "fewshot", "k": [4], "tasks": ["fourth"], "variants": ["zero-shot", "adap_pos-frozen", "adap_pos"]},
    {"kind": "multitask", "name": "pair", "alpha": 0.3, "tasks": ["third", "toy"], "variants": ["adap_pos", "fixed"]},
    {"kind": "multitask", "cap": 9, "variants": ["adap_pos", "adap_pos-noise"]},
]
ALL = "toy second third fourth"
EXPECTED = [  # regime, tasks, variants
    ("full", "toy", "majority fixed adap_pos adap_pos-noise adap_pos-frozen zero-shot"),
    ("full", "third second", "fixed majority"),
    ("fewshot-k2-s0", ALL, "adap_pos adap_pos-noise"),
    ("fewshot-k2-s1", ALL, "adap_pos adap_pos-noise"),
    ("fewshot-k4-s0", "fourth", "zero-shot adap_pos-frozen adap_pos"),
    ("multitask-pair", "third toy", "adap_pos fixed"),
    ("multitask", ALL, "adap_pos adap_pos-noise"),
]
STUDY = small_study(VARIANTS, backbones=BACKBONES, tasks={"made_up": TASKS}, regimes=REGIMES, seeds=[3, 5],
                    without={"tiny-encoder": ["zero-shot", "adap_pos-noise"]})  # fmt: skip


def test_the_cells_are_those_of_the_parts():
    expected = [
        f"{backbone}/{regime}/{task}/{variant}/seed{seed}"
        for backbone in BACKBONES
        for regime, tasks, variants in EXPECTED
        for task in tasks.split()
        for variant in variants.split()
        if backbone == "tiny-t5" or variant not in ("zero-shot", "adap_pos-noise")
        for seed in ([0] if variant in ("majority", "zero-shot") else [3, 5])
    ]
    assert [cell.run for cell in grid.cells(STUDY)] == expected
    assert len(expected) == len(set(expected))


def test_the_trainings_are_those_that_the_parts_show():
    expected = {
        f"{backbone}/{regime}/{'all' if regime.startswith('multitask') else task}/{variant}/seed{seed}"
        for backbone in BACKBONES
        for regime, tasks, variants in EXPECTED
        for task in tasks.split()
        for variant in variants.split()
        if variant in ("fixed", "adap_pos", "adap_pos-frozen")
        for seed in (3, 5)
    }
    assert {cell.run for cell in grid.needed_trainings(STUDY)} == expected
    needed = set(grid.needed_trainings(STUDY))
    for cell in needed:
        assert set(grid.sources(STUDY, cell).values()) <= needed


def test_a_union_has_its_own_tasks_in_its_own_order_and_its_own_mixture():
    for regime, tasks, alpha, cap in (("multitask-pair", ["third", "toy"], 0.3, None), ("multitask", TASKS, 0.5, 9)):
        for cell in (Cell("tiny-t5", regime, "all", "adap_pos", 3), Cell("tiny-t5", regime, "toy", "adap_pos", 3)):
            config = grid.run_config(STUDY, cell)
            assert config["multitask"] == {"tasks": tasks, "alpha": alpha, "cap": cap}
        assert grid.tasks_of(STUDY, Cell("tiny-t5", regime, "all", "adap_pos", 3)) == tasks
        assert grid.training(STUDY, cell) == Cell("tiny-t5", regime, "all", "adap_pos", 3)
    assert grid.run_config(STUDY, Cell("tiny-t5", "full", "toy", "adap_pos", 3))["multitask"] is None
    unions = [name for name, _ in grid.regimes(STUDY) if Regime.parse(name).is_union]
    assert unions == ["multitask-pair", "multitask"]


def test_what_a_part_does_not_say_changes_nothing_of_its_runs():
    """A part with all tasks and variants named is the regime that names none."""
    named = {"kind": "multitask", "tasks": TASKS, "variants": VARIANTS}
    plain, spelled = (
        small_study(VARIANTS, tasks={"made_up": TASKS}, regimes=[regime]) for regime in ({"kind": "multitask"}, named)
    )
    assert grid.cells(plain) == grid.cells(spelled)
    assert all(grid.run_config(plain, cell) == grid.run_config(spelled, cell) for cell in grid.cells(plain))


# The commands: two unions that share a task, which stands second in one and first in the other

UNIONS = {"multitask-toys": ["toy_choice", "toy"], "multitask-rest": ["toy", "planted_last"]}
PICKED = {"multitask-toys": [1, 3], "multitask-rest": [2, 0]}
"""The split that each task of a union is made to choose, in its order."""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = tmp_path_factory.mktemp("unions")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        regimes = [{"kind": "multitask", "name": name.removeprefix("multitask-"), "tasks": names}
                   for name, names in UNIONS.items()]  # fmt: skip
        project = Project(root, ["adap_pos"], tasks={"made_up": ["planted_last", "toy", "toy_choice"]},
                          regimes=regimes, rows={"train": 60, "report": 30})  # fmt: skip
        project.prepare()
        for name, picked in PICKED.items():
            path = project.train(f"tiny-t5/{name}/all/adap_pos/seed0") / "tuned.safetensors"
            tensors = load_file(path)
            logits = tensors["prompt.position.policy.logits.logits"]
            assert logits.shape == (2, 5)
            for task, split in enumerate(picked):
                logits[task, split] = 50
            save_file(tensors, path)
            reseal(path.parent)
        project.predictions = {
            (name, task): project.evaluate(f"tiny-t5/{name}/{task}/adap_pos/seed0")
            for name, names in UNIONS.items() for task in names
        }  # fmt: skip
    return project


@pytest.mark.parametrize("name", UNIONS)
def test_a_named_union_trains_on_its_own_tasks_alone(built, name):
    folder = built.root / paths.train_run("small", f"tiny-t5/{name}/all/adap_pos/seed0")
    record = files.read_json(folder / "record.json")
    counts = record["made"]["label_counts"]
    assert set(counts) == set(UNIONS[name]) and record["asked"]["multitask"]["tasks"] == UNIONS[name]
    assert record["made"]["train_rows"] == sum(sum(one["train"]) for one in counts.values()) > 0
    read = {path.split("/")[4] for path in record["used"]["inputs"] if path.startswith("results/tokenize")}
    assert read == set(UNIONS[name])
    assert record["asked"]["regime"] == name
    assert not (built.root / "results/train/small/tiny-t5/multitask").exists()


@pytest.mark.parametrize(("name", "task"), [(name, task) for name, names in UNIONS.items() for task in names])
def test_an_evaluation_asks_under_the_tasks_number_in_its_union(built, name, task):
    expected = PICKED[name][UNIONS[name].index(task)]
    assert {row["split"] for row in built.predictions[name, task]} == {expected}


# The report


def test_two_unions_are_rows_of_their_own(tmp_path, monkeypatch):
    """Also in the learning curves, where the task's number in its union says which accuracy is its own."""
    unions = {"multitask-one": ["beta", "alpha"], "multitask-two": ["alpha", "beta"]}
    regimes = [{"kind": "multitask", "name": name.removeprefix("multitask-"), "tasks": names}
               for name, names in unions.items()]  # fmt: skip
    study = study_in(tmp_path, monkeypatch, regimes=regimes, variants=["majority", "fixed"], seeds=[0, 1])
    shares = {"multitask-one": 0.7, "multitask-two": 0.9}
    write_results(study, lambda cell: predictions(shares[cell.regime], cell.seed))
    selection = {"accuracy": 0.5, "loss": 1.0, "by_task": [0.25, 0.75]}
    for name in unions:
        for seed in (0, 1):
            path = paths.train_run("synthetic", f"tiny-t5/{name}/all/fixed/seed{seed}") / "steps.jsonl"
            change(path, lambda log: [line | {"selection": selection} if "selection" in line else line for line in log])
    folder = report()
    rows = table(folder)
    found = {(row["regime"], row["task"], row["variant"]): (row["seeds"], float(row["mean"])) for row in rows}
    assert len(rows) == len(found) == 8
    for name, names in unions.items():
        for task in names:
            assert found[name, task, "fixed"] == ("2", shares[name])
            assert found[name, task, "majority"] == ("1", shares[name])
    text = (folder / "results.md").read_text()
    assert "tiny-t5, multitask-one" in text and "tiny-t5, multitask-two" in text
    with (folder / "figures" / "learning_curves.csv").open() as file:
        curves = [row for row in csv.DictReader(file) if row["quantity"] == "accuracy"]
    seen = {(row["regime"], row["task"]): float(row["value"]) for row in curves}
    assert seen == {("multitask-one", "beta"): 0.25, ("multitask-one", "alpha"): 0.75,
                    ("multitask-two", "alpha"): 0.25, ("multitask-two", "beta"): 0.75}  # fmt: skip


def test_planted_choices_are_of_the_variants_of_the_part(tmp_path, monkeypatch):
    """adap_ins_pos learns a split too, but not in the union, whose part of the grid leaves it out."""
    part = ["majority", "fixed", "adap_pos"]
    of_union = WRITTEN["predictions"][-1] | {"variants": part}
    written = WRITTEN | {"predictions": [*WRITTEN["predictions"][:-1], of_union]}
    regimes = [{"kind": "full"}, {"kind": "multitask", "variants": part}]
    write_all(predicted_study(tmp_path, monkeypatch, written, regimes=regimes))
    found = {(row["regime"], row["factor"], row["variant"]) for row in csv_of(report(), "planted_choices.csv")}
    assert found == {
        ("full", "split", "adap_pos"), ("full", "split", "adap_ins_pos"), ("full", "split", "adap_ins_pos-shuffled"),
        ("full", "pool", "adap_ins_vec"), ("multitask", "split", "adap_pos"),
    }  # fmt: skip
