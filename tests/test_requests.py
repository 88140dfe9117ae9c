"""What a job asks a cluster for (docs/cluster.md)."""

import math

import pytest
from conftest import ROOT
from small_project import made, small_study

from dp import files
from dp.jobs.job import Cell
from dp.planning.requests import Requests
from dp.study.resolve import jobs, training_job
from dp.study.study import load

MODELS = {"t5-small-lm": 0.077e9, "t5-xl-lm": 2.85e9}
"""Parameters as the model cards round them."""


@pytest.fixture(scope="module")
def paper():
    return load(ROOT, {"scale": "paper"})


def training(study, backbone, variant, task="boolq"):
    return training_job(study, Cell(backbone, "full", task, variant, study.scale.seeds[0]))


def test_the_node_of_a_gpu_holds_the_weights_once_and_a_half_besides_what_every_job_takes(paper):
    asks = Requests(paper, gpu=True)
    small, large = (asks.of(training(paper, name, "fixed")).memory for name in MODELS)
    assert large - small == pytest.approx(1.5 * 4 * (MODELS["t5-xl-lm"] - MODELS["t5-small-lm"]) / 1e6, rel=0.05)
    assert 6000 < small < 7000, "2 GB, 4 for the GPU's libraries, and Small's weights"
    assert asks.of(training(paper, "t5-xl-lm", "adap_ins_pos")).memory == large, "activations lie on the GPU"


def test_on_a_cpu_activations_and_what_is_trained_lie_in_the_nodes_memory(paper):
    asks = Requests(paper, gpu=False)
    fixed, learned, tuned = (asks.of(training(paper, "t5-small-lm", name)).memory
                             for name in ("fixed", "adap_ins_pos", "finetune"))  # fmt: skip
    bare = Requests(paper, gpu=True).of(training(paper, "t5-small-lm", "fixed")).memory - 4000
    copies = paper.scale.choice.samples
    assert learned - bare == pytest.approx(copies * (fixed - bare), rel=0.1), "a pass for each candidate that is tried"
    # Without the 20 prompt vectors, and of each weight its gradient, two moments and what was selected
    assert tuned - bare == pytest.approx((fixed - bare) * 480 / 500 + 16 * MODELS["t5-small-lm"] / 1e6, rel=0.05)


def test_another_attempt_asks_for_as_much_again_and_a_day_at_most(paper):
    asks, job = Requests(paper, gpu=True), training(paper, "t5-small-lm", "fixed")
    first, second = asks.of(job), asks.of(job, attempt=2)
    assert second.memory == 2 * first.memory and second.minutes == 2 * first.minutes < 24 * 60
    assert asks.of(training(paper, "t5-xl-lm", "fixed"), attempt=3).minutes == 24 * 60
    assert asks.of(job, attempt=10).memory == 3 * first.memory, "no node holds ten times as much"


def test_runs_that_share_passes_ask_for_all_of_them():
    alone, shared = (small_study(["fixed"], seeds=[0, 1, 2], together=one) for one in ({}, {"tiny-t5": 3}))
    of_all, of_one = (Requests(one, gpu=False).counter.of_job(training(one, "tiny-t5", "fixed", "toy"))
                      for one in (shared, alone))  # fmt: skip
    assert of_all.work.flops == pytest.approx(3 * of_one.work.flops)


def test_what_was_recorded_is_what_is_asked_for_and_more(tmp_path):
    with made(tmp_path, ["fixed", "finetune"]) as project:
        asks = Requests(project.study, gpu=False)
        assert asks.margin == 2, "trainings are recorded on this kind of device"
        for folder, job in jobs(project.study).items():
            told, asked = files.read_json(folder / "record.json")["made"], asks.of(job)
            assert asked.memory > told["peak_memory_mib"] * 1.05
            assert asked.minutes > math.ceil(told["wall_seconds"] / 60)
