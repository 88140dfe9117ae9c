"""The stopping rule: when a run ends, that it is the beginning of the one that goes on, and that it is one for all."""

import importlib.util
import shutil

import pytest
from conftest import ROOT
from small_project import Project, small_study

from dp import files, paths
from dp.errors import UserError
from dp.jobs.job import Cell
from dp.study import grid
from dp.training import loop, stopping
from dp.training.loop_config import RunBudget

TRAINING = {"steps": 40, "batch_size": 8, "micro_batch_size": 4, "evaluate_every": 2, "checkpoint_every": 2,
            "optimizer": {"warmup_steps": 0, "lr": 0.05, "schedule": "linear"}}  # fmt: skip
RULE = {"patience": 3, "after": 10}
VARIANTS = ["fixed", "adap_ins_pos"]


def run_of(variant):
    return f"tiny-t5/full/toy/{variant}/seed0"


def log_of(folder):
    """Its log without times."""
    return [{key: value for key, value in line.items() if "second" not in key}
            for line in files.read_jsonl(folder / "steps.jsonl")]  # fmt: skip


def made(folder):
    return files.read_json(folder / "record.json")["made"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of a project without the rule, and the logs of its runs."""
    root = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        project = Project(root, VARIANTS, training=TRAINING)
        project.prepare()
        return {variant: log_of(project.train(run_of(variant))) for variant in VARIANTS}


@pytest.fixture
def ruled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, VARIANTS, training=TRAINING | {"stop": RULE})
    project.prepare()
    return project


def expected_stop(log):
    """By the words of the docs: after `after` updates, `patience` looks in a row without a better one."""
    best, since = None, 0
    for line in log:
        if "selection" in line:
            look = (line["selection"]["accuracy"], -line["selection"]["loss"])
            best, since = (look, 0) if best is None or look > best else (best, since + 1)
            if since >= RULE["patience"] and line["step"] >= RULE["after"]:
                return line["step"]
    return TRAINING["steps"]


def test_the_replay_of_a_log_is_what_the_rule_does(whole):
    """benchmarks/patience.py, with the log of a whole run: where it stops, and what is selected by then."""
    spec = importlib.util.spec_from_file_location("patience", ROOT / "benchmarks" / "patience.py")
    patience = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(patience)
    budget = RunBudget.model_validate(TRAINING | {"updates_per_step": 1})
    for variant in VARIANTS:
        log = [line for line in whole[variant] if "selection" in line]
        looks = [(line["step"], line["selection"]["accuracy"], line["selection"]["loss"]) for line in log]
        stop = expected_stop(whole[variant])
        reached, best = [max(found, key=lambda look: (look[1], -look[2])) for found in (looks[: stop // 2], looks)]
        found = patience.replayed(patience.Run(variant, budget, looks), RULE["patience"], RULE["after"])
        assert found == (reached == best, pytest.approx(100 * (best[1] - reached[1])), pytest.approx(1 - stop / 40))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_stopped_run_is_the_beginning_of_the_whole_one(whole, ruled, variant):
    """Though its rates, linear down to 0 at the last step, and its entropy bonus go by the number of steps."""
    folder = ruled.train(run_of(variant))
    stop = expected_stop(whole[variant])
    assert 10 <= stop < 40, "a case that shows nothing"
    log = log_of(folder)
    assert log == whole[variant][: len(log)] and log[-1]["step"] == stop
    facts = made(folder)
    best = [line["step"] for line in log if line.get("best")][-1]
    assert (facts["steps"], facts["selected_step"]) == (stop, best)
    assert facts["stopped"] == f"after {stop} of 40 steps: 3 looks without a better one"
    assert not (folder / "state").exists()


def test_a_run_that_was_interrupted_behind_its_stop_ends_there(whole, ruled, monkeypatch):
    """Killed between the last checkpoint and the record: nothing more is trained."""
    stop = expected_stop(whole["fixed"])

    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop.State, "finish", killed)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            ruled.train(run_of("fixed"))
    state = ruled.root / paths.train_run("small", run_of("fixed")) / "state"
    assert state.exists()
    folder = ruled.train(run_of("fixed"))
    assert made(folder)["steps"] == stop and log_of(folder)[-1]["step"] == stop
    other = shutil.move(folder, ruled.root / "resumed")
    undisturbed = ruled.train(run_of("fixed"))
    assert files.sha256(undisturbed / "tuned.safetensors") == files.sha256(ruled.root / other / "tuned.safetensors")


def test_a_run_that_gets_better_to_its_end_makes_all_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, ["fixed"], training=TRAINING | {"steps": 12, "stop": {"patience": 6, "after": 2}})
    project.prepare()
    facts = made(project.train(run_of("fixed")))
    assert (facts["steps"], facts["stopped"]) == (12, "all steps are made")


def test_looks_are_counted_where_they_were(monkeypatch):
    budget = RunBudget(steps=100, evaluate_every=10, updates_per_step=1, stop={"patience": 3, "after": 20})
    assert [n for n in range(1, 101) if stopping.exhausted(budget, n, 0)] == [30, 40, 50, 60, 70, 80, 90, 100]
    assert not stopping.exhausted(budget, 30, 10) and stopping.exhausted(budget, 40, 10)
    starts = budget.model_copy(update={"starts": 2, "start_steps": 15})  # one look more
    assert stopping.exhausted(starts, 30, 10) and not stopping.exhausted(starts, 25, 0)


def test_more_updates_have_as_many_looks_under_the_same_rule():
    """Of fixed-2x, and of a released driver that updates after every micro-batch."""
    study = small_study(["fixed", "fixed-2x", "fixed-update_every_micro_batch"], training=TRAINING | {"stop": RULE})
    asked = {name: grid.run_config(study, Cell("tiny-t5", "full", "toy", name, 0))["training"]
             for name in study.scale.variants}  # fmt: skip
    for name, factor in (("fixed", 1), ("fixed-2x", 2), ("fixed-update_every_micro_batch", 2)):
        assert asked[name]["stop"] == {"patience": 3, "after": 10 * factor}
        assert asked[name]["evaluate_every"] == 2 * factor


def test_without_a_rule_nothing_is_asked_of_a_run():
    study = small_study(["fixed"], training=TRAINING)
    assert "stop" not in grid.run_config(study, Cell("tiny-t5", "full", "toy", "fixed", 0))["training"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": TRAINING | {"stop": {"patience": 3, "after": 40}}}, "stop.after 40 must be at least 0, the end"),
        ({"training": TRAINING | {"stop": RULE, "optimizer": {"warmup_steps": 11}}},
         "stop.after 10 must be at least 11, the end of warm-up"),
        ({"training": TRAINING | {"stop": RULE, "starts": 2, "start_steps": 12}}, "stop.after 10 must be at least 12"),
        ({"training": TRAINING | {"stop": {"patience": 0, "after": 10}}}, "training.stop.patience"),
        ({"training": TRAINING | {"stop": RULE}, "overrides": {"fixed": {"stop": {"patience": 9, "after": 10}}}},
         "overrides.fixed.stop: the stopping rule is the scale's, equal for every variant"),
        ({"training": TRAINING | {"stop": RULE}, "overrides": {"fixed": {"optimizer": {"warmup_steps": 11}}}},
         "overrides.fixed"),
    ],
)  # fmt: skip
def test_a_rule_that_is_none_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        small_study(["fixed"], **changes)
