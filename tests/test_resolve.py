"""What each job reads, and as what: no digest holds that, so it is pinned here."""

from dataclasses import replace

import pytest
from small_project import small_study

from dp.errors import UserError
from dp.jobs.job import Cell
from dp.study import resolve
from dp.study import study as study_module

TOKENS = "results/tokenize/small/tiny-t5"
UNION = [{"kind": "full"}, {"kind": "multitask"}]


@pytest.fixture(scope="module")
def study():
    variants = ["majority", "fixed", "adap_pos", "adap_ins_pos", "adap_pos_ins_vec-staged", "adap_ins_pos-shuffled"]
    tasks = {"made_up": ["toy_choice", "toy"]}
    search = {"method": "grid", "trials": 2, "space": {"lr_factor": [0.5, 1.0]}}
    return small_study(variants, tasks=tasks, regimes=UNION, search=search)


def read(job):
    return [(one.role, one.of, one.folder.as_posix()) for one in job.reads]


def test_a_training_of_a_union_reads_its_tasks_in_their_order_and_a_policy_by_its_factor(study):
    cell = Cell("tiny-t5", "multitask", "all", "adap_pos_ins_vec-staged", 0)
    assert read(resolve.training_job(study, cell)) == [
        ("tokens", "toy_choice", f"{TOKENS}/toy_choice/tokens"),
        ("tokens", "toy", f"{TOKENS}/toy/tokens"),
        ("features", "toy_choice", f"{TOKENS}/toy_choice/features/masked_mean"),
        ("features", "toy", f"{TOKENS}/toy/features/masked_mean"),
        ("backbone", "", "results/download/backbones/tiny-t5"),
        ("policy", "position", "results/train/small/tiny-t5/multitask/all/adap_pos/seed0"),
        ("choice", "", "results/train/small/tiny-t5/multitask/all/adap_pos_ins_vec-staged/choice"),
    ]
    trial = resolve.training_job(study, replace(cell, trial=1))
    assert "choice" not in [role for role, *_ in read(trial)], "a trial has its setting already"


def test_an_evaluation_reads_its_own_task_and_what_was_tuned_or_is_controlled(study):
    cell = Cell("tiny-t5", "multitask", "toy", "adap_ins_pos-shuffled", 0)
    assert read(resolve.evaluation_job(study, cell)) == [
        ("tokens", "toy", f"{TOKENS}/toy/tokens"),
        ("features", "toy", f"{TOKENS}/toy/features/masked_mean"),
        ("backbone", "", "results/download/backbones/tiny-t5"),
        ("tuned", "", "results/train/small/tiny-t5/multitask/all/adap_ins_pos/seed0"),
    ]
    majority = resolve.evaluation_job(study, replace(cell, variant="majority"))
    assert read(majority) == [("tokens", "toy", f"{TOKENS}/toy/tokens")]


def test_a_choice_reads_the_trials_in_their_order(study):
    folder = "results/train/small/tiny-t5/full/toy/fixed"
    runs = [f"tiny-t5/full/toy/fixed/trial{n}" for n in range(2)]
    expected = [("trial", run, f"{folder}/trial{n}") for n, run in enumerate(runs)]
    assert read(resolve.choice_job(study, Cell("tiny-t5", "full", "toy", "fixed", 0))) == expected


def test_tokens_read_of_a_backbone_all_but_its_weights(study):
    job = resolve.tokens_job(study, "tiny-t5", "toy")
    rows, words = job.reads
    assert rows.names == ("train.jsonl", "validation.jsonl", "SHA256SUMS")
    assert words.names == ("config.json", "tokenizer.json", "tokenizer_config.json", "SHA256SUMS")
    assert job.project == ("dp/tasks/toy.yaml",)


def test_a_task_with_one_source_is_taken_from_there_whatever_the_scale_says():
    tasks = {"hub": ["cb", "sst2_val_resplit", "toy"]}
    study = small_study(["majority", "fixed"], tasks=tasks, source="hub")
    found = {job.folder.parent.name: job.asked for job in resolve.jobs(study).values() if job.command == "fetch-task"}
    assert {task: asked["source"] for task, asked in found.items()} == {
        "cb": "hub", "sst2_val_resplit": "package", "toy": "made_up",
    }  # fmt: skip
    for task, source in (("cb", "hub"), ("sst2_val_resplit", "package"), ("toy", "made_up")):
        folder = f"results/download/tasks/{task}/{source}"
        evaluation = resolve.evaluation_job(study, Cell("tiny-t5", "full", task, "fixed", 0))
        assert evaluation.asked["source"] == source
        tokens = resolve.tokens_job(study, "tiny-t5", task)
        assert tokens.asked["source"] == source and ("rows", "", folder) in read(tokens)


def test_a_task_from_a_folder_needs_the_folder_under_any_source(monkeypatch):
    monkeypatch.setattr(study_module, "source_kind", lambda task, wanted: "folder")
    with pytest.raises(UserError, match="folder: is not set"):
        small_study(["fixed"], tasks={"made_up": ["toy"]})
