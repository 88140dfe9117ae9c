"""From somebody's table to a prediction on a new sentence, as docs/own-data.md says: a task and a scale are added."""

import csv
import json
import sys

import pytest
import yaml
from built_project import commit, git, jobs, make, run

pytestmark = pytest.mark.slow
SMALL = {
    "backbones": ["tiny-t5"], "variants": ["majority", "fixed", "adap_ins_pos"], "seeds": [0], "max_tokens": 32,
    "prompt": {"length": 4}, "compute": {"device": "cpu"}, "evaluation_batch_size": 16,
    "training": {"steps": 4, "batch_size": 8, "micro_batch_size": 8, "evaluate_every": 2, "checkpoint_every": 2,
                 "optimizer": {"warmup_steps": 2}},
}  # fmt: skip


def test_a_table_becomes_a_task_a_report_and_a_prediction(tmp_path):
    root, mine = make(tmp_path / "project"), tmp_path / "mine"
    mine.mkdir()
    with (mine / "balls.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "what it says", "colour"])
        for n in range(120):
            writer.writerow([n, f"the {'cat' if n % 3 else 'dog'} has a {'red' if n % 2 else 'blue'} ball.", n % 2])

    def dp(*arguments):
        return run(root, sys.executable, "-m", "dp", *map(str, arguments))[0]

    printed = dp("draft-task", mine / "balls.csv", "--label", "colour")
    assert "train: 90 rows (0 45, 1 45)" in printed and "validation: 30 rows" in printed
    new = git(root, "status", "--porcelain", "--untracked-files=all").split("\n")
    assert [line.split()[-1] for line in new if line] == ["dp/tasks/balls.yaml", "workflow/scales/balls.yaml"]
    path = root / "workflow/scales/balls.yaml"
    drafted = yaml.safe_load(path.read_text()) | SMALL
    del drafted["baselines"], drafted["overrides"]
    path.write_text(yaml.safe_dump(drafted))
    commit(root, "Task balls")
    asked = ["--config", "scale=balls", f"folder={mine}"]
    assert len(jobs(root, *asked)) == 10 and jobs(root, *asked, dry=True) == []
    with (root / "results/report/balls/results.csv").open() as file:
        found = list(csv.DictReader(file))
    assert {row["variant"] for row in found} == {"majority", "fixed", "adap_ins_pos"}
    assert all("re-split" in row["labels"] and row["source"] == "folder" for row in found)
    run_name = "tiny-t5/full/balls/adap_ins_pos/seed0"
    settings = ["--set", "scale=balls", "--set", f"folder={mine}"]
    printed = dp("predict", "--run", run_name, "--text", "the dog has a red ball.", *settings)
    said = json.loads(printed.splitlines()[0])  # behind it, what libraries say on stderr
    assert said["label"] in ("0", "1") and sum(said["probabilities"].values()) == pytest.approx(1)
