"""Several starts of one training: which one goes on, that nothing but the selection rows chooses, and what is kept."""

import pytest
from small_project import Project, small_study

from dp import files
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
    assert (facts["steps"], facts["steps_before"]) == (4, 3 * 2)
    # The first updates of the run are those of its start: the same selection after two of them
    (after,) = [line["selection"] for line in files.read_jsonl(folder / "steps.jsonl")
                if "selection" in line and line["step"] == 2]  # fmt: skip
    assert after == {key: told[best][key] for key in ("accuracy", "loss")}
    assert not (folder / starts.FOLDER).exists()


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
