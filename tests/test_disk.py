"""What a run leaves: no whole model where nobody asks for one, and of a long log what figures read."""

import pytest
from small_project import Project, small_study

from dp import files, paths
from dp.errors import UserError
from dp.inference import Predictor
from dp.planning.costs import Counter
from dp.study import grid
from dp.training import state

TRAINING = {"steps": 4, "batch_size": 8, "micro_batch_size": 4, "evaluate_every": 2, "checkpoint_every": 4,
            "optimizer": {"warmup_steps": 0, "lr": 0.01}}  # fmt: skip
TWO = {"tasks": {"made_up": ["toy", "toy_choice"]}, "regimes": [{"kind": "full"}, {"kind": "multitask"}]}
RUNS = {"tiny-t5/full/toy/finetune/seed0": ["tiny-t5/full/toy/finetune/seed0"],
        "tiny-t5/multitask/all/finetune/seed0": [f"tiny-t5/multitask/{task}/finetune/seed0"
                                                 for task in ("toy", "toy_choice")]}  # fmt: skip


def evaluated(root, monkeypatch, **changes):
    """Run -> predictions and metrics of a fine-tuned model; and the sizes of what its trainings keep."""
    root.mkdir()
    monkeypatch.chdir(root)
    project = Project(root, ["finetune"], training=TRAINING, **TWO | changes)
    project.prepare()
    found, sizes = {}, []
    for training, shown in RUNS.items():
        sizes.append((project.train(training) / "tuned.safetensors").stat().st_size)
        for run in shown:
            project.evaluate(run)
            folder = paths.evaluation("small", run)
            found[run] = [(folder / name).read_bytes() for name in ("predictions.jsonl", "metrics.json")]
    return found, sizes


def test_the_numbers_of_a_model_that_is_not_kept_are_those_of_one_that_is(tmp_path, monkeypatch):
    """Of the step that was selected, of one task and of a union, to the byte."""
    kept, large = evaluated(tmp_path / "kept", monkeypatch)
    scores, small = evaluated(tmp_path / "scores", monkeypatch, keep_models=False)
    assert scores == kept
    assert max(small) < 0.1 * min(large)
    with pytest.raises(UserError, match="kept no model, only its scores of the reported rows"):
        Predictor.load(paths.train_run("small", next(iter(RUNS))))


def test_trials_keep_nothing_and_their_best_setting_is_trained(tmp_path, monkeypatch):
    search = {"method": "grid", "trials": 2, "space": {"lr_factor": [0.5, 1.0]}}
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, ["finetune"], training=TRAINING, search=search, keep_models=False)
    project.prepare()
    for number in range(2):
        assert (project.train(f"tiny-t5/full/toy/finetune/trial{number}") / "tuned.safetensors").stat().st_size < 200


def test_scores_of_other_rows_are_refused(tmp_path, monkeypatch):
    evaluated(tmp_path / "scores", monkeypatch, keep_models=False)
    from dp.training.kept_scores import kept_scores

    folder = paths.train_run("small", next(iter(RUNS)))
    with pytest.raises(UserError, match="and there are 3; train it anew"):
        kept_scores(folder, "toy", 3)


def test_only_a_fine_tuned_model_is_left_away():
    study = small_study(["finetune", "fixed"], keep_models=False)
    asked = {cell.variant: grid.run_config(study, cell).get("keep_model") for cell in grid.cells(study)}
    assert asked == {"finetune": False, "fixed": None}
    both = small_study(["finetune"], keep_models=False, protocol="released")
    assert "keep_model" not in grid.run_config(both, grid.cells(both)[0])  # a prompt is tuned beside it
    assert all("keep_model" not in grid.run_config(one, grid.cells(one)[0]) for one in [small_study(["finetune"])])


def test_a_plan_counts_no_model_that_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with_models, without = (small_study(["finetune"], keep_models=kept) for kept in (True, False))
    one, other = (Counter(study).cost(grid.cells(study))["tiny-t5"] for study in (with_models, without))
    assert one.models > 0 and other.models == 0 and one.runs == other.runs and one.work == other.work


@pytest.mark.parametrize(("steps", "every"), [(10, 1), (3999, 1), (4000, 2), (20_000, 10), (20_003, 10)])
def test_a_long_log_is_thinned(steps, every):
    log = []
    for step in range(1, steps + 1):
        log.append({"step": step, "loss": 1.0})
        if step % 7 == 0:
            log.append({"step": step, "selection": {}})
    found = state.thinned(log)
    assert [line for line in found if "selection" in line] == [line for line in log if "selection" in line]
    assert [line["step"] for line in found if "loss" in line] == sorted({*range(every, steps + 1, every), steps})


def test_a_thinned_log_has_the_sums_of_the_whole_one_in_its_record(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, ["fixed"], training=TRAINING | {"steps": 8})
    project.prepare()
    whole = project.train("tiny-t5/full/toy/fixed/seed0")
    tokens = sum(line["tokens"] for line in files.read_jsonl(whole / "steps.jsonl") if "loss" in line)
    (tmp_path / "results/train").rename(tmp_path / "before")
    monkeypatch.setattr(state, "MOST_STEPS", 4)
    thin = project.train("tiny-t5/full/toy/fixed/seed0")
    assert [line["step"] for line in files.read_jsonl(thin / "steps.jsonl") if "loss" in line] == [2, 4, 6, 8]
    made = files.read_json(thin / "record.json")["made"]
    assert made["tokens_per_second"] * made["step_seconds"] == pytest.approx(
        tokens, rel=0.02
    )  # half of it would be left
