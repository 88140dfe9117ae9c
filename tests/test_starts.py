"""Several starts of one training: which one goes on, that nothing but the selection rows chooses, and what is kept."""

from contextlib import nullcontext

import pytest
from small_project import Project, small_study

from dp import files, paths
from dp.errors import UserError
from dp.numerics import seeds
from dp.training import starts

RUN = "tiny-t5/full/toy/fixed/seed0"
TRAINING = {"steps": 4, "batch_size": 8, "micro_batch_size": 4, "evaluate_every": 2, "checkpoint_every": 4,
            "optimizer": {"warmup_steps": 0}, "starts": 3, "start_steps": 2}  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = Project(tmp_path, ["fixed"], training=TRAINING)
    made.prepare()
    return made


def made(folder):
    return files.read_json(folder / "record.json")["made"]


def test_the_start_that_is_ahead_on_the_selection_rows_is_trained(project):
    folder = project.train(RUN)
    facts = made(folder)
    told = facts["starts"]
    best = min(range(3), key=lambda n: (-told[n]["accuracy"], told[n]["loss"], n))
    assert facts["start"] == best and len({one["loss"] for one in told}) == 3
    assert [one["seed"] for one in told] == [0, *(seeds.derive(0, "start", n) for n in (1, 2))]
    assert files.read_json(folder / "config.json")["seed"] == told[best]["seed"]
    assert (facts["steps"], facts["steps_before"], facts["other_starts"]["steps"]) == (4, 0, 2 * 2)
    # The first updates of the run are those of its start: one log, with the selection after two of them
    lines = files.read_jsonl(folder / "steps.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    (after,) = [line["selection"] for line in lines if "selection" in line and line["step"] == 2]
    assert after == {key: told[best][key] for key in ("accuracy", "loss")}
    assert not (folder / starts.FOLDER).exists() and not (folder / "state").exists()


def numbers(folder):
    """All that a training leaves but times."""
    lines = [{key: value for key, value in line.items() if "second" not in key}
             for line in files.read_jsonl(folder / "steps.jsonl")]  # fmt: skip
    return lines, (folder / "tuned.safetensors").read_bytes()


@pytest.mark.parametrize("start_steps", [2, 3])
def test_the_start_that_goes_on_ends_as_one_that_never_stopped(tmp_path, monkeypatch, start_steps):
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, ["adap_ins_pos"], training=TRAINING | {"start_steps": start_steps})
    project.prepare()
    run = RUN.replace("fixed", "adap_ins_pos")
    resumed = numbers(project.train(run))
    (project.root / "results" / "train").rename(project.root / "before")
    monkeypatch.setattr(starts.State, "move_to", lambda self, run: None)
    assert numbers(project.train(run)) == resumed
    assert start_steps in [line["step"] for line in resumed[0] if "selection" in line]


def test_held_out_rows_choose_where_the_reported_ones_are_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, ["fixed", "fixed-select_on_reported"], training=TRAINING)
    project.prepare()
    honest, other = (project.train(RUN.replace("fixed", name)) for name in ("fixed", "fixed-select_on_reported"))
    assert made(honest)["starts"] == made(other)["starts"]
    losses = [[line["loss"] for line in numbers(folder)[0] if "loss" in line] for folder in (honest, other)]
    assert losses[0] == losses[1], "twins share every step"
    looks = [[line["selection"] for line in numbers(folder)[0] if "selection" in line] for folder in (honest, other)]
    assert looks[0] != looks[1]


def test_choices_are_drawn_at_evaluation_as_when_the_step_was_selected(tmp_path, monkeypatch):
    """Under select_on_reported the number reported is the best look, also where another start went on."""
    monkeypatch.chdir(tmp_path)
    drawn = {"position": "instance", "switches": ["gumbel_at_evaluation", "select_on_reported"]}
    project = Project(tmp_path, ["drawn"], {"drawn": drawn}, seeds=[0, 1, 2, 3], training=TRAINING)
    project.prepare()
    went_on = set()
    for seed in range(4):
        run = RUN.replace("fixed/seed0", f"drawn/seed{seed}")
        facts = made(project.train(run))
        went_on.add(facts["start"])
        project.evaluate(run)
        metrics = files.read_json(paths.evaluation("small", run) / "metrics.json")
        assert metrics["metrics"]["accuracy"]["value"] == pytest.approx(facts["selection"]["accuracy"], abs=1e-6)
    assert went_on - {0}, "another start than the first went on"


def test_a_start_that_overflows_ends_the_run_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, ["adap_length"], protocol="released", training=TRAINING | {"steps": 12})
    project.prepare()
    facts = made(project.train(RUN.replace("fixed", "adap_length")))
    assert facts["status"] == "overflow" and facts["starts"][facts["start"]]["accuracy"] is None


def test_a_start_that_fails_says_so_in_the_folder_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, ["fixed"], training=TRAINING | {"optimizer": {"warmup_steps": 0, "lr": 1e38}})
    project.prepare()
    with pytest.raises(SystemExit):
        project.train(RUN)
    folder = paths.train_run("small", RUN)
    assert files.read_json(folder / "failure.json")["status"].startswith("non-finite")


def test_a_signal_in_the_last_update_of_a_start_stops_the_run(project, monkeypatch):
    class Signalled(list):
        """A stop request that comes in the first start's last update."""

        def __bool__(self):
            log = project.root / paths.train_run("small", RUN) / starts.FOLDER / "0" / "state" / "steps.jsonl"
            return "selection" in log.read_text()

    whole = numbers(project.train(RUN))
    (project.root / "results" / "train").rename(project.root / "before")
    monkeypatch.setattr("dp.training.loop.stop_requests", lambda: nullcontext(Signalled()))
    with pytest.raises(SystemExit):
        project.train(RUN)
    assert not (project.root / paths.train_run("small", RUN) / starts.FOLDER / "1").exists()
    monkeypatch.undo()
    monkeypatch.chdir(project.root)
    assert numbers(project.train(RUN)) == whole


def test_a_stopped_call_takes_over_the_starts_that_it_has(project, monkeypatch):
    whole = made(project.train(RUN))
    calls, train = [], starts.train

    def counted(*given, **more):
        calls.append(more["until"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return train(*given, **more)

    monkeypatch.setattr(starts, "train", counted)
    (project.root / "results" / "train").rename(project.root / "before")
    with pytest.raises(KeyboardInterrupt):
        project.train(RUN)
    again = made(project.train(RUN))
    assert calls == [2, 2, 2, 2], "the third start alone is made again"
    assert (
        again["starts"] == whole["starts"]
        and again["outputs"]["tuned.safetensors"] == whole["outputs"]["tuned.safetensors"]
    )


def test_one_start_says_nothing_of_starts_and_too_long_ones_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="start_steps 4 must be below steps 4"):
        small_study(["fixed"], training=TRAINING | {"start_steps": 4})
    monkeypatch.chdir(tmp_path)
    alone = Project(tmp_path, ["fixed"])
    alone.prepare()
    facts = made(alone.train(RUN))
    assert "starts" not in facts and facts["steps_before"] == 0
    asked = files.read_json(paths.train_run("small", RUN) / "config.json")["training"]
    assert not {"starts", "start_steps"} & asked.keys()
