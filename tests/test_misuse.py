"""What users of Snakemake and DVC do to a project, and what the audit and both doors say of it each time.

None of them may be wrong: whatever is not what the code, the parameters and the data say is named by the audit; a door
that has nothing to do has made everything, and neither computes with edited bytes or records them.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from agreement import CLEAN, EVERYTHING, verdicts
from built_project import BIN, commit, dvc, environment, git, jobs, make, run, short, snakemake
from conftest import PATIENCE

from dp.jobs.record import sealed

pytestmark = pytest.mark.slow
RUN = "tiny-t5/full/toy/fixed/seed1"
TRAIN, EVALUATE, REPORT = f"results/train/e2e/{RUN}", f"results/evaluate/e2e/{RUN}", "results/report/e2e"
OF_RUN = [f"evaluate/{RUN}", "report", f"train/{RUN}"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The project, made by `dvc repro` and committed with what DVC recorded."""
    root = make(tmp_path_factory.mktemp("project") / "copy", variants="majority, fixed")
    dvc(root, "repro")
    commit(root, "results")
    return root


def edit_json(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_nothing_done(project):
    assert verdicts(project) == CLEAN
    assert dvc(project, "repro").count("output:") == 0
    assert verdicts(project) == CLEAN


@pytest.mark.parametrize(
    "path",
    [f"{TRAIN}/tuned.safetensors", f"{REPORT}/results.csv",
     *(pytest.param(path, marks=pytest.mark.exhaustive)
       for path in (f"{EVALUATE}/SHA256SUMS", f"{EVALUATE}/metrics.json",
                    "results/download/tasks/toy/made_up/train.jsonl"))],
)  # fmt: skip
def test_an_output_edited_by_hand(project, path):
    """Named by all three; neither door goes on from it or records it; restored or deleted, all is well again."""
    lock = (project / "dvc.lock").read_bytes()
    original = (project / path).read_bytes()
    (project / path).write_bytes(original + b" ")
    found = verdicts(project)
    assert found.audit["tampered"] == [path]
    assert f"{path}: its bytes differ" in found.snakemake
    assert found.dvc["outs"] == [Path(path).parts[1]]
    assert snakemake(project)[1] != 0
    assert "its bytes differ" in dvc(project, "repro", check=False)
    assert (project / "dvc.lock").read_bytes() == lock
    shutil.copytree(project, restored := project.with_name("restored"), symlinks=True)
    dvc(restored, "checkout", "--force")
    assert (restored / path).read_bytes() == original
    assert verdicts(restored) == CLEAN
    shutil.rmtree((project / path).parent)
    jobs(project)
    if "metrics" in path:
        assert (project / path).read_bytes() == original
    dvc(project, "repro")
    assert verdicts(project) == CLEAN


@pytest.mark.parametrize("path", [f"{EVALUATE}/record.json", f"{REPORT}/record.json"])
def test_a_record_edited_by_hand(project, path):
    edit_json(project / path, lambda record: record["made"].update(wall_seconds=0.001))
    found = verdicts(project)
    assert found.audit["tampered"] == [path]
    assert f"{path}: is not what its job wrote" in found.snakemake
    assert found.dvc["outs"] == [Path(path).parts[1]]


def test_a_record_forged_with_its_seal_is_caught_by_what_dvc_recorded(project):
    def forge(record):
        record["made"]["wall_seconds"] = 0.001
        record["seal"] = sealed({key: value for key, value in record.items() if key != "seal"})["seal"]

    edit_json(project / f"{REPORT}/record.json", forge)
    found = verdicts(project)
    assert found.audit == {"unlocked": ["results/report"]}
    assert found.dvc["outs"] == ["report"]


def test_a_run_deleted(project):
    shutil.rmtree(project / TRAIN)
    found = verdicts(project)
    assert found.audit == {"missing": [TRAIN], "stale": sorted([EVALUATE, REPORT]), "unlocked": ["results/train"]}
    assert found.snakemake == sorted(OF_RUN)
    assert found.dvc["outs"] == ["train"]
    assert set(short(jobs(project))) == set(OF_RUN)
    dvc(project, "repro")
    assert verdicts(project) == CLEAN


def test_an_orphan_added(project):
    orphan = project / f"results/evaluate/e2e/{RUN}".replace("seed1", "seed9")
    shutil.copytree(project / EVALUATE, orphan)
    (project / TRAIN / "notes.txt").write_text("mine")
    found = verdicts(project)
    assert {*found.audit} == {"orphaned", "unlocked"}
    assert f"{TRAIN}/notes.txt" in found.audit["orphaned"]
    assert all("seed9" in path or "notes" in path for path in found.audit["orphaned"])
    assert found.snakemake == []
    assert found.dvc["outs"] == ["evaluate", "train"]
    run(project, BIN / "python", "-m", "dp", "audit", "--prune", check=False)
    assert not orphan.exists() and not (project / TRAIN / "notes.txt").exists()
    assert verdicts(project) == CLEAN


def test_one_parameter_changed(project):
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["variants"]["fixed"]["position"] = "postfix"
    path.write_text(yaml.safe_dump(params))
    found = verdicts(project)
    of_variant = [f"{phase}/tiny-t5/full/toy/fixed/seed{n}" for phase in ("evaluate", "train") for n in (0, 1)]
    assert found.snakemake == sorted(["report", *of_variant])
    assert short(sorted(f"{path}/x" for path in found.audit["stale"])) == sorted(["report", *of_variant])
    assert {*found.audit} == {"stale"}
    assert found.dvc == {"outs": [], "deps": EVERYTHING}


def test_one_imported_module_changed(project):
    path = project / "dp/results/metrics.py"
    path.write_text(path.read_text() + "\nEDITED = True\n")
    found = verdicts(project)
    expected = sorted(["report", "evaluate/tiny-t5/full/toy/majority/seed0",
                       *(f"evaluate/tiny-t5/full/toy/fixed/seed{n}" for n in (0, 1))])  # fmt: skip
    assert found.snakemake == expected
    assert short(sorted(f"{path}/x" for path in found.audit["stale"])) == expected
    assert found.dvc == {"outs": [], "deps": EVERYTHING}


def test_only_a_comment_changed(project):
    path = project / "dp/training/loop.py"
    path.write_text(path.read_text().replace('"""The training loop."""', '"""A loop."""  # to train') + "# the end\n")
    found = verdicts(project)
    assert (found.audit, found.snakemake, found.dvc["outs"]) == ({}, [], [])
    assert found.dvc["deps"] == EVERYTHING
    assert "output:" not in dvc(project, "repro")
    assert verdicts(project) == CLEAN


OTHER_VERSIONS = """
from importlib import metadata
known = metadata.version
metadata.version = lambda name: "9.9.9" if name == "peft" else known(name)
"""


def test_package_versions_switched(project, tmp_path):
    """What is there stays what its records say; a part that is made anew stands out."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other/sitecustomize.py").write_text(OTHER_VERSIONS)
    switched = {"PYTHONPATH": f"{project}:{tmp_path / 'other'}"}
    assert jobs(project, dry=True, **switched) == []
    shutil.rmtree(project / EVALUATE)
    jobs(project, **switched)
    found = verdicts(project)
    assert found.audit["mixed-environment"] == [EVALUATE]
    assert found.snakemake == []


def test_run_from_a_dirty_tree(project):
    path = project / "dp/results/metrics.py"
    path.write_text(path.read_text() + "\nEDITED = True\n")
    printed, status = snakemake(project)
    assert status != 0 and "so no job was started" in printed
    assert "dirty-tree" not in verdicts(project).audit
    printed, status = snakemake(project, "--", "evaluate")
    assert status == 0 and "The report will refuse these numbers" in printed
    found = verdicts(project)
    assert len(found.audit["dirty-tree"]) == 3
    assert found.snakemake == ["report"]
    commit(project, "edited")
    assert len(verdicts(project).audit["dirty-tree"]) == 3, "a commit afterwards vouches for nothing"


def test_everything_touched(project):
    for folder in ("results", "dp", "workflow"):
        for path in sorted((project / folder).rglob("*"), reverse=True):
            os.utime(path)
    assert verdicts(project) == CLEAN


def test_snakemake_interrupted(project):
    shutil.rmtree(project / "results/train")
    command = [BIN / "snakemake", "--cores", "2"]
    process = subprocess.Popen(command, cwd=project, env=environment(project), stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
    deadline = time.monotonic() + PATIENCE
    while not list((project / "results/logs").rglob("*.state.json")) and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    found = verdicts(project)
    assert found.audit["missing"] and "tampered" not in found.audit
    assert "IncompleteFilesException" in found.snakemake or found.snakemake
    snakemake(project, "--unlock")
    dvc(project, "repro")
    assert verdicts(project) == CLEAN


def test_dvc_repro_twice_at_once(project):
    shutil.rmtree(project / TRAIN)
    command = [BIN / "dvc", "repro"]
    both = [subprocess.Popen(command, cwd=project, env=environment(project), stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True) for _ in range(2)]  # fmt: skip
    printed = [one.communicate(timeout=PATIENCE)[0] for one in both]
    assert sorted(one.returncode == 0 for one in both) in ([False, True], [True, True]), printed
    for one, text in zip(both, printed, strict=True):
        assert one.returncode == 0 or "lock" in text.lower(), text
    assert verdicts(project) == CLEAN


# Either door, in any order


def _seed_more(root):
    path = root / "workflow/scales/e2e.yaml"
    text = path.read_text()
    path.write_text(text.replace("[0, 1]", "[0, 1, 2]") if "[0, 1]" in text else text.replace("[0, 1, 2]", "[0, 1]"))


def _longer(root):
    path = root / "workflow/scales/e2e.yaml"
    text = path.read_text()
    path.write_text(text.replace("s: 8,", "s: 9,") if "steps: 8," in text else text.replace("s: 9,", "s: 8,"))


def _code(root):
    path = root / "dp/report/figures/chosen_splits.py"
    path.write_text(path.read_text() + f"\nEDITED = {random.random()}\n")
    commit(root, "edited")


def _comment(root):
    path = root / "dp/training/loop.py"
    path.write_text(path.read_text() + "# more words\n")
    commit(root, "words")


def _lose(root):
    shutil.rmtree(root / EVALUATE, ignore_errors=True)


def _touch(root):
    for path in (root / "results").rglob("*"):
        os.utime(path)


CHANGES = (_seed_more, _longer, _code, _comment, _lose, _touch)
DOORS = {"snakemake": lambda root: jobs(root), "dvc": lambda root: dvc(root, "repro")}


# Each takes a minute: one in every run, all by `pytest -m exhaustive`.
SEQUENCES = [pytest.param(seed, marks=[pytest.mark.exhaustive] if seed else []) for seed in range(20)]


@pytest.mark.parametrize("seed", SEQUENCES)
def test_the_doors_alternate_in_any_order(project, seed):
    """A change is seen by the audit and by both doors alike; after either door nothing is left to do by the other."""
    draw = random.Random(seed)
    for _ in range(3):
        draw.choice(CHANGES)(project)
        if git(project, "status", "--porcelain"):
            commit(project, "changed")
        found = verdicts(project)
        assert bool(found.snakemake) == bool({"missing", "stale"} & {*found.audit}), found
        DOORS[draw.choice(sorted(DOORS))](project)
        assert "output:" not in dvc(project, "repro"), "DVC ran what Snakemake had made"
        found = verdicts(project)
        # A seed that is asked for no more leaves its runs behind.
        orphans = found.audit.pop("orphaned", [])
        assert found == CLEAN and all("seed2" in path for path in orphans)
