"""The planted world end to end: the report confirms a right prediction, and fails every choice broken on purpose."""

import csv
import shutil

import pytest
import yaml
from conftest import ROOT
from small_project import Project

from dp import paths
from dp.commands import cli
from dp.study import grid

pytestmark = pytest.mark.slow

DEMO = yaml.safe_load((ROOT / "workflow" / "scales" / "demo.yaml").read_text())
TASK, BROKEN = "planted_cue_end", ["adap_ins_pos-backwards", "adap_ins_pos-wrong_feature", "adap_ins_pos-unlearned"]
SAME = ("source", "max_tokens", "prompt", "choice", "training", "evaluation_batch_size", "compute")
ABOUT = {"regime": "full", "tasks": [TASK], "because": "planted"}
PREDICTIONS = {
    "predictions": [
        ABOUT | {"variants": ["fixed"], "accuracy": [0.45, 0.9]},
        ABOUT | {"variants": ["adap_ins_pos"], "accuracy": [0.9, 1.0]},
        ABOUT | {"variants": BROKEN, "accuracy": [0.9, 1.0], "broken": True},
    ],
    "null_task": {"regime": "full", "task": TASK, "against": "adap_ins_pos"},
    "planted": [{"regime": "full", "task": TASK, "factor": "split", "variants": ["adap_ins_pos"]}],
}


def test_what_was_planted_is_found_and_what_is_broken_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow" / "predictions").mkdir(parents=True)
    (tmp_path / "workflow" / "predictions" / "small.yaml").write_text(yaml.safe_dump(PREDICTIONS))
    shutil.copytree(ROOT / "workflow" / "worlds", tmp_path / "workflow" / "worlds")
    project = Project(tmp_path, ["fixed", "adap_ins_pos", *BROKEN], tasks={"made_up": [TASK]}, seeds=[21],
                      backbones=DEMO["backbones"][:3], predictions="workflow/predictions/small.yaml",
                      **{key: DEMO[key] for key in SAME})  # fmt: skip
    project.prepare()
    for cell in grid.cells(project.study):
        project.train(cell.run)
        project.evaluate(cell.run)
    cli.main(["report", "--set", "allow_dirty=true"])
    report = paths.report("small")
    with (report / "predictions.csv").open() as file:
        found = {row["variant"]: (row["verdict"], row["broken"]) for row in csv.DictReader(file)}
    assert found == {"fixed": ("holds", ""), "adap_ins_pos": ("holds", "")} | dict.fromkeys(BROKEN, ("fails", "yes"))
    text = (report / "predictions.md").read_text()
    assert "Of 2 predicted cells 2 hold, 0 fail and 0 are unclear; of 3 broken on purpose 3 fail, as they must" in text
    assert "## Broken on purpose" in text and text.count("- **fails**: adap_ins_pos-") == 3
    with (report / "planted_choices.csv").open() as file:
        told = {row["variant"]: float(row["mean"]) for row in csv.DictReader(file)}
    assert told["adap_ins_pos"] > 0.9 > 0.3 > max(told[name] for name in BROKEN[1:])
