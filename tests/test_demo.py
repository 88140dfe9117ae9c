"""The planted world end to end: the report confirms a right prediction, and catches a policy that learns backwards."""

import csv
import shutil

import pytest
import yaml
from conftest import ROOT
from small_project import Project

from dp import files, paths
from dp.commands import cli
from dp.prompts.estimators import objective
from dp.study import grid
from dp.training import loop

pytestmark = pytest.mark.slow

DEMO = yaml.safe_load((ROOT / "workflow" / "scales" / "demo.yaml").read_text())
TASK, VARIANTS = "planted_cue_end", ["fixed", "adap_ins_pos"]
SAME = ("backbones", "source", "max_tokens", "prompt", "training", "evaluation_batch_size", "compute", "seeds")
PREDICTIONS = {
    "predictions": [
        {"regime": "full", "tasks": [TASK], "variants": ["fixed"], "accuracy": [0.5, 0.95], "because": "one question"},
        {
            "regime": "full",
            "tasks": [TASK],
            "variants": ["adap_ins_pos"],
            "accuracy": [0.86, 1.0],
            "because": "planted",
        },
    ],
    "null_task": {"regime": "full", "task": TASK, "against": "adap_ins_pos"},
    "planted": [{"regime": "full", "task": TASK, "factor": "split", "variants": ["adap_ins_pos"]}],
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The demo scale's backbone, pre-trained, and the rows, tokens and features of one of its tasks."""
    root = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        (root / "workflow" / "predictions").mkdir(parents=True)
        (root / "workflow" / "predictions" / "small.yaml").write_text(yaml.safe_dump(PREDICTIONS))
        made = Project(root, VARIANTS, tasks={"made_up": [TASK]}, predictions="workflow/predictions/small.yaml",
                       **{key: DEMO[key] for key in SAME})  # fmt: skip
        made.prepare()
        yield made


def verdicts(project):
    """variant -> row of predictions.csv, from runs made now."""
    for cell in grid.cells(project.study):
        project.train(cell.run)
        project.evaluate(cell.run)
    cli.main(["report", "--set", "allow_dirty=true"])
    with (paths.report("small") / "predictions.csv").open() as file:
        return {row["variant"]: row for row in csv.DictReader(file)}


def test_the_pre_training_is_logged_and_passes_its_gate(project):
    made = files.read_json(paths.backbone("planted-t5") / "record.json")["made"]
    losses = [line["loss"] for line in made["pretraining"]["log"]]
    assert losses[0] > 0.6 > 0.1 > losses[-1]
    assert made["pretraining"]["held_out_accuracy"] >= 0.98


def test_what_was_planted_is_found_and_a_policy_that_learns_backwards_is_caught(project, monkeypatch):
    found = verdicts(project)
    assert {variant: row["verdict"] for variant, row in found.items()} == {"fixed": "holds", "adap_ins_pos": "holds"}

    def backwards(estimator, losses, log_prob):
        """The score function's term with the wrong sign; the prompt's own gradient as it should be."""
        right = objective(estimator, losses, log_prob)
        return right if log_prob is None else 2 * losses.mean(0) - right

    shutil.rmtree(paths.TRAIN)
    monkeypatch.setattr(loop, "objective", backwards)
    broken = verdicts(project)
    assert broken["fixed"]["mean"] == found["fixed"]["mean"]
    assert broken["adap_ins_pos"]["verdict"] == "fails"
