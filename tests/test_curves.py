"""Event files of trainings, read back by TensorBoard's own reader, against the logs that they are copied from."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from built_project import commit, jobs, snakemake
from conftest import PATIENCE, ROOT
from filelock import FileLock
from small_project import Project
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dp import files, paths
from dp.commands import cli
from dp.lineage import event_files

RUN = "tiny-t5/full/toy/fixed/seed0"
TRAINING = paths.train_run("small", RUN)
EVENTS = Path("results/logs/tensorboard/small") / RUN

HOLDER = """
import os, sys, time
from dp.lineage.event_files import beside
with beside():
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    os.kill(os.getpid(), 9)
"""
"""Dies without a word once the process beside it is at work."""


def read(folder=EVENTS):
    """Tag -> (step, value) of each event, in order."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def update(step, **more):
    return {"step": step, "loss": 1.0 / step, "lr": 0.3, "splits": [step, 0], "pool": None, "seconds": 0.5} | more


def look(step, accuracy, **more):
    return {"step": step, "selection": {"accuracy": accuracy, "loss": 2.0} | more, "best": True}


def log(lines, where=TRAINING / "state", end=""):
    where.mkdir(parents=True, exist_ok=True)
    (where / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + end)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path, ["fixed"])


def test_a_finished_training_has_every_number_of_its_log(here):
    here.prepare()
    here.train(RUN)
    before = {path: path.read_bytes() for path in TRAINING.rglob("*") if path.is_file()}
    cli.main(["tensorboard", "--scale", "small"])
    lines = files.read_jsonl(TRAINING / "steps.jsonl")
    updates, looks = ([line for line in lines if key in line] for key in ("loss", "selection"))
    assert len(updates) == 4 and len(looks) == 2
    expected = {f"train/{key}": [(line["step"], pytest.approx(line[key])) for line in updates]
                for key in ("loss", "lr", "temperature", "tokens", "tokens_per_second", "seconds")}  # fmt: skip
    expected |= {f"selection/{key}": [(line["step"], pytest.approx(line["selection"][key])) for line in looks]
                 for key in ("accuracy", "loss")}  # fmt: skip
    assert read() == expected
    assert {path: path.read_bytes() for path in TRAINING.rglob("*") if path.is_file()} == before
    (file,) = EVENTS.glob("events*")
    cli.main(["tensorboard", "--scale", "small"])
    assert list(EVENTS.glob("events*")) == [file], "what is there already is left alone"


def test_a_running_training_is_followed_line_by_line(here):
    copies = event_files.Copies([TRAINING])
    copies.update()
    assert not EVENTS.exists() and len(copies) == 0
    log([update(1), update(2)], end='{"step": 3, "lo')
    copies.update()
    assert read()["train/loss"] == [(1, 1.0), (2, 0.5)]
    log([update(1), update(2), look(2, 0.75, by_task=[0.5, 1.0]), update(3)])
    copies.update()
    copies.update()
    found = read()
    assert [step for step, _ in found["train/loss"]] == [1, 2, 3]
    assert (found["selection/accuracy"], found["selection/by_task/1"]) == ([(2, 0.75)], [(2, 1.0)])
    assert set(found) == {"train/loss", "train/lr", "train/seconds", "selection/accuracy", "selection/loss",
                          "selection/by_task/0", "selection/by_task/1"}  # fmt: skip


@pytest.mark.parametrize(
    ("then", "losses"),
    [
        ([update(1), update(2, loss=0.25)], [(1, 1.0), (2, 0.25)]),
        ([update(1, loss=4.0), update(2), update(3), update(4, loss=5.0)], [(1, 4.0), (2, 0.5), (3, 1 / 3), (4, 5.0)]),
    ],
    ids=["resumed from a state behind", "begun anew"],
)
def test_a_log_that_is_no_longer_the_same_is_copied_anew(here, then, losses):
    log([update(1), update(2), update(3)])
    copies = event_files.Copies([TRAINING])
    copies.update()
    log(then)
    copies.update()
    assert read()["train/loss"] == [(step, pytest.approx(loss)) for step, loss in losses]


def test_what_a_training_ends_with_replaces_what_was_followed(here):
    """Its log may be thinned; and a training that is made again has another."""
    copies = event_files.Copies([TRAINING])
    log([update(step) for step in range(1, 7)])
    copies.update()
    log([update(2), update(4), update(6)], TRAINING)
    shutil.rmtree(TRAINING / "state")
    copies.update()
    assert [step for step, _ in read()["train/loss"]] == [2, 4, 6]
    log([update(2, loss=8.0)], TRAINING)
    copies.update()
    assert read()["train/loss"] == [(2, 8.0)]
    log([], TRAINING)
    copies.update()
    assert read() == {}


def test_seconds_between_updates_are_those_of_the_training(here):
    log([update(1, seconds=1.0), update(2, seconds=60.0), update(3, seconds=2.0)], TRAINING)
    event_files.Copies([TRAINING]).update()
    found = EventAccumulator(str(EVENTS))
    found.Reload()
    first, second, third = (one.wall_time for one in found.Scalars("train/loss"))
    assert (second - first, third - second) == (pytest.approx(60), pytest.approx(2))
    assert third == pytest.approx((TRAINING / "steps.jsonl").stat().st_mtime)


def test_what_it_refuses(here, monkeypatch, capsys):
    def said():
        with pytest.raises(SystemExit) as stop:
            cli.main(["tensorboard", "--scale", "small"])
        assert stop.value.code == 2
        return capsys.readouterr().err

    log([update(1)], end='{"loss": 1}\n')
    assert "state/steps.jsonl, line 2: is no line of a training's log" in said()
    with event_files.alone():
        assert "another `dp tensorboard`, of a snakemake perhaps, writes here" in said()
    monkeypatch.setattr(event_files, "find_spec", lambda name: None)
    assert "TensorBoard, which is not installed: `pip install -e '.[curves]'`" in said()


def test_watching_ends_with_the_process_that_asked_for_it(here):
    """However that ends: all it does is to hold the other end of a pipe."""
    log([update(1)])
    with event_files.beside():
        log([update(1), update(2)])
    # It reads params.yaml, whose scale is `small`, and has caught up.
    assert read()["train/loss"] == [(1, 1.0), (2, 0.5)]
    shutil.rmtree(EVENTS)
    subprocess.run([sys.executable, "-c", HOLDER, str(EVENTS)], env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert EVENTS.exists()
    with FileLock(event_files.FOLDER / ".lock", timeout=PATIENCE):
        pass


@pytest.mark.slow
def test_a_parameter_writes_them_while_snakemake_trains_and_makes_nothing_stale(project):
    assert jobs(project, "--config", "curves=tensorboard", dry=True) == []
    shutil.rmtree(project / "results/train/e2e/tiny-t5/full/toy/fixed")
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("curves: null", "curves: tensorboard"))
    commit(project, "curves")
    jobs(project)
    assert jobs(project, dry=True) == []
    trainings = sorted(path.parent for path in (project / "results/train/e2e").rglob("steps.jsonl"))
    assert len(trainings) == 4
    for training in trainings:
        losses = [(line["step"], pytest.approx(line["loss"])) for line in files.read_jsonl(training / "steps.jsonl")
                  if "loss" in line]  # fmt: skip
        run = training.relative_to(project / "results/train")
        assert read(project / "results/logs/tensorboard" / run)["train/loss"] == losses


@pytest.mark.slow
def test_without_tensorboard_no_job_starts(project, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u\nfound = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'tensorboard' else found(name, *more)\n"
    )
    shutil.rmtree(project / "results/train/e2e/tiny-t5/full/toy/fixed")
    printed, status = snakemake(project, "--config", "curves=tensorboard", PYTHONPATH=f"{project}:{hidden}")
    assert status != 0 and "pip install -e '.[curves]'" in printed
    assert not (project / "results/train/e2e/tiny-t5/full/toy/fixed").exists()
