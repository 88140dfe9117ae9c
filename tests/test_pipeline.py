"""The pipeline as its users run it: twice, through both doors, after edits, and killed."""

import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml
from built_project import commit, dvc, environment, git, jobs, short, snakemake

from dp import files

pytestmark = pytest.mark.slow


def test_both_doors_find_the_same_state(project):
    assert jobs(project, dry=True) == []
    printed = dvc(project, "repro")
    assert "output:" not in printed, "dvc repro ran a job after snakemake had run them all"
    assert "Data and pipelines are up to date" in dvc(project, "status")
    assert jobs(project, dry=True) == []


@pytest.mark.parametrize(
    ("lost", "made"),
    [
        ("download/backbones/tiny-t5", 13),
        pytest.param("tokenize/e2e/tiny-t5/toy/tokens", 12, marks=pytest.mark.exhaustive),
        ("train/e2e/tiny-t5/full/toy/fixed/seed0", 3),
    ],
)
def test_what_was_lost_is_made_again_once(project, lost, made):
    """What reads it has other notes afterwards: those of what was made anew, or the next call would make it again."""
    shutil.rmtree(project / "results" / lost)
    assert len(jobs(project)) == made
    assert jobs(project, dry=True) == []


def test_another_seed_runs_itself_and_what_depends_on_it(project):
    path = project / "workflow/scales/e2e.yaml"
    path.write_text(path.read_text().replace("seeds: [0, 1]", "seeds: [0, 2]"))
    assert short(jobs(project, dry=True)) == [
        "evaluate/tiny-t5/full/toy/adap_ins_pos/seed2",
        "evaluate/tiny-t5/full/toy/fixed/seed2",
        "report",
        "train/tiny-t5/full/toy/adap_ins_pos/seed2",
        "train/tiny-t5/full/toy/fixed/seed2",
    ]


def test_an_edited_module_reruns_exactly_its_dependents(project):
    edit(project / "dp/results/metrics.py")
    assert {name.split("/")[0] for name in short(jobs(project, dry=True))} == {"evaluate", "report"}
    assert sum(name.startswith("evaluate") for name in short(jobs(project, dry=True))) == 5
    restore(project)
    assert jobs(project, dry=True) == []
    edit(project / "dp/report/figures/chosen_splits.py")
    assert short(jobs(project, dry=True)) == ["report"]
    restore(project)
    comment(project / "dp/training/loop.py")
    assert jobs(project, dry=True) == []
    edit(project / "dp/training/loop.py")
    phases = [name.split("/")[0] for name in short(jobs(project, dry=True))]
    assert sorted(phases) == ["evaluate"] * 4 + ["report"] + ["train"] * 4


def test_a_new_module_reruns_those_that_import_it(project):
    """However late: an import inside a function that evaluations alone can run, then an edit of the imported module."""
    newcomer = project / "dp/results/newcomer.py"
    newcomer.write_text("VALUE = 1\n")
    assert jobs(project, dry=True) == []
    path = project / "dp/results/metrics.py"
    path.write_text(path.read_text() + "\n\ndef late():\n    from dp.results import newcomer\n")
    assert {name.split("/")[0] for name in short(jobs(project, dry=True))} == {"evaluate", "report"}
    commit(project, "a module")
    assert len(jobs(project)) == 6 and jobs(project, dry=True) == []
    newcomer.write_text("VALUE = 2\n")
    assert {name.split("/")[0] for name in short(jobs(project, dry=True))} == {"evaluate", "report"}


def edit(path):
    path.write_text(path.read_text() + "\nEDITED = True\n")


def comment(path):
    path.write_text(path.read_text().replace("\n\n", "  # only words\n\n", 1) + "\n# more words\n")


def restore(project):
    git(project, "checkout", "-q", "--", "dp")


def test_what_has_no_say_reruns_nothing(project):
    """A resource of a rule, an error text of the parameters, the progress bar, and what records a job."""
    for name, old, new in (
        ("workflow/rules/evaluate.smk", "gpu=lambda wc: gpus(),", "gpu=lambda wc: gpus(),\n        disk_mb=1,"),
        ("dp/study/params.py", "must be a multiple of", "has to be a multiple of"),
        ("dp/progress.py", "mininterval=5", "mininterval=9"),
        ("dp/jobs/record.py", "Restore it (", "Bring it back ("),
    ):
        text = (project / name).read_text()
        assert old in text
        (project / name).write_text(text.replace(old, new))
    assert jobs(project, dry=True) == []


def test_a_variant_parameter_reruns_its_own_runs(project):
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["variants"]["fixed"]["position"] = "postfix"
    path.write_text(yaml.safe_dump(params))
    names = short(jobs(project, dry=True))
    assert len(names) == 5 and all("fixed" in name or name == "report" for name in names)


def test_a_dirty_tree_is_refused_and_admitted_only_on_request(project):
    edit(project / "dp/results/metrics.py")
    printed, status = snakemake(project)
    assert status != 0 and "Code differs from the commit" in printed
    assert len(jobs(project, "--config", "allow_dirty=true")) == 6
    assert "dirty-tree" in (project / "results/report/e2e/results.csv").read_text()


def test_a_training_killed_midway_ends_with_the_same_bytes(project):
    name = "e2e/tiny-t5/full/toy/adap_ins_pos/seed1"
    run, predictions = project / "results/train" / name, project / "results/evaluate" / name / "predictions.jsonl"
    expected, predicted = files.sha256(run / "tuned.safetensors"), files.sha256(predictions)
    shutil.rmtree(run)
    command = [sys.executable, "-m", "dp", "train", "--run", "tiny-t5/full/toy/adap_ins_pos/seed1"]
    for _ in range(20):
        process = subprocess.Popen(command, cwd=project, env=environment(project), stderr=subprocess.DEVNULL)
        while process.poll() is None and not (run / "state/state.safetensors").exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if (run / "state/state.safetensors").exists():
            break
        shutil.rmtree(run, ignore_errors=True)
    assert (run / "state/state.safetensors").exists() and not (run / "tuned.safetensors").exists()
    assert "train/tiny-t5/full/toy/adap_ins_pos/seed1" in short(jobs(project))
    assert files.sha256(run / "tuned.safetensors") == expected
    assert files.sha256(predictions) == predicted
    assert not (run / "state").exists()
