"""Snakemake under bad conditions: outputs that nobody takes, signals, code without a commit."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from built_project import BIN, commit, dvc, environment, git, jobs, run, short, snakemake
from conftest import PATIENCE

pytestmark = pytest.mark.slow
RUN = "tiny-t5/full/toy/majority/seed0"
EVALUATION = f"results/evaluate/e2e/{RUN}"
# How a person's shell may leave the outputs of `snakemake`, which is "$@". The third line says that the DAG is built: a
# reader that goes before ends Snakemake by itself, with nothing begun.
OUTPUTS = ['"$@" > /dev/full', 'set -o pipefail; "$@" 2>&1 | head -n 3', '"$@" <&- >&- 2>&-']


def through(root, shell, *arguments, **more):
    """Snakemake's exit status under a line of the shell."""
    command = ["timeout", "--signal=KILL", "150", BIN / "snakemake", "--cores", "2", "--nocolor", *arguments]
    line = ["bash", "-c", shell, "bash", *command]
    done = subprocess.run(line, cwd=root, env=environment(root) | more, capture_output=True)
    return done.returncode


def standing_in(folder, *lines):
    """Environment in which every job is some lines of the shell, in place of `python -m dp`."""
    (folder / "stand-in.sh").write_text("\n".join(["python() {", *lines, "}"]))
    return {"BASH_ENV": str(folder / "stand-in.sh")}


def log(root):
    return (root / f"results/logs/evaluate/e2e/{RUN}.log").read_text()


def is_locked(root):
    return any((root / ".snakemake").glob("locks/*"))


@pytest.mark.parametrize("shell", OUTPUTS)
def test_a_job_counts_wherever_the_output_goes(project, shell):
    shutil.rmtree(project / EVALUATION)
    assert through(project, shell, "--", "evaluate") == 0
    assert (project / EVALUATION / "record.json").is_file() and not is_locked(project)
    assert jobs(project, "--", "evaluate", dry=True) == []


@pytest.mark.parametrize(
    "shell", [pytest.param(one, marks=pytest.mark.exhaustive) for one in OUTPUTS[:-1]] + OUTPUTS[-1:]
)
def test_a_job_that_fails_says_why_in_its_log_wherever_the_output_goes(project, tmp_path, shell):
    shutil.rmtree(project / EVALUATION)
    failing = standing_in(tmp_path, "sleep 1", "echo the reason >&2", "return 3")
    assert through(project, shell, "--", "evaluate", **failing) == 1
    assert log(project) == "the reason\n" and not is_locked(project)


def test_a_log_that_cannot_be_written_ends_no_job(project):
    shutil.rmtree(project / EVALUATION)
    path = project / f"results/logs/evaluate/e2e/{RUN}.log"
    path.unlink()
    path.symlink_to("/dev/full")
    assert through(project, OUTPUTS[0], "--", "evaluate") == 0
    assert (project / EVALUATION / "record.json").is_file()


def test_nothing_is_weighed_while_no_job_begins_or_ends(project, tmp_path):
    for variant in (project / "results/evaluate/e2e/tiny-t5/full/toy").iterdir():
        shutil.rmtree(variant)
    waiting = standing_in(tmp_path, "sleep 6", "return 3")
    printed, _ = snakemake(project, "--verbose", "--", "evaluate", **waiting)
    assert log(project) == "" and 1 <= printed.count("Resources before job selection") <= 2


def started(project, **more):
    """A Snakemake in a group of its own, once its job is at work."""
    (project / f"results/logs/evaluate/e2e/{RUN}.log").unlink()
    process = subprocess.Popen([BIN / "snakemake", "--cores", "2", "--", "evaluate"], cwd=project,
                               env=environment(project) | more, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)  # fmt: skip
    end = time.monotonic() + PATIENCE
    while not (project / f"results/logs/evaluate/e2e/{RUN}.log").exists() or "at work" not in log(project):
        assert time.monotonic() < end
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.exhaustive)]
)
def test_a_signal_to_all_waits_for_what_the_jobs_save(project, tmp_path, number):
    """Ctrl-C, the end of a service, a closed terminal."""
    shutil.rmtree(project / EVALUATION)
    patient = standing_in(tmp_path, "trap 'sleep 1; echo saved; exit 130' HUP INT TERM", "echo at work",
                          "while :; do sleep 0.1; done")  # fmt: skip
    process = started(project, **patient)
    os.killpg(process.pid, number)
    assert process.wait(timeout=PATIENCE) == 1
    said = log(project).splitlines()  # the shell may name the `sleep` that the signal ended
    assert (said[0], said[-1]) == ("at work", "saved") and not is_locked(project)


def test_sigterm_never_meets_its_own_lock(project, tmp_path):
    """Snakemake's handler takes a lock that the interrupted thread holds while it takes note of a job's end."""
    shutil.rmtree(project / EVALUATION)
    # Snakemake holds the lock while it waits for the outputs that this job does not make.
    process = started(project, **standing_in(tmp_path, "echo at work", "sleep 1"))
    end = time.monotonic() + PATIENCE
    while is_locked(project) and process.poll() is None and time.monotonic() < end:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    try:
        assert process.wait(timeout=PATIENCE) == 1, "it waits for its own lock"
    finally:
        process.kill()


def test_a_snakemake_that_was_killed_leaves_no_job_at_work(project):
    """Whoever starts it again must not find the same run being written."""
    shutil.rmtree(project / "results/train/e2e")
    scale = project / "workflow/scales/e2e.yaml"
    scale.write_text(scale.read_text().replace("steps: 8,", "steps: 100000,"))
    process = subprocess.Popen([BIN / "snakemake", "--cores", "1", "--", "train"], cwd=project,
                               env=environment(project), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)  # fmt: skip
    try:
        wait_until(lambda: list((project / "results/train").rglob("state.safetensors")))
        process.kill()
        wait_until(lambda: not list((project / "results/logs").rglob("*.state.json")))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    assert list((project / "results/train").rglob("state.safetensors")), "it was told to stop, not killed"


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited 90 s in vain"
        time.sleep(0.05)


# Code without a commit


def of_another_user(root):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder to another user")
    for path in (root, root / ".git"):
        os.chown(path, 12345, 12345)


def without_history(root):
    shutil.rmtree(root / ".git")


def edited(root):
    path = root / "dp/results/metrics.py"
    path.write_text(path.read_text() + "\nEDITED = True\n")


REFUSED = [
    (of_another_user, "dubious ownership", "git config --global --add safe.directory"),
    (without_history, "not a git repository", "git init && git add -A && git commit"),
    (edited, "dp/results/metrics.py. Commit it", "git stash"),
]


@pytest.mark.parametrize(("change", "why", "remedy"), REFUSED)
def test_what_the_report_would_refuse_is_said_before_the_first_job(project, change, why, remedy):
    shutil.rmtree(project / EVALUATION)
    change(project)
    printed, status = snakemake(project, LC_ALL="C")
    printed = " ".join(printed.split())
    assert status == 1 and "so no job was started" in printed
    assert why in printed and remedy in printed and "--config allow_dirty=true" in printed
    assert not (project / EVALUATION).exists() and not is_locked(project)
    assert f"evaluate/{RUN}" in short(jobs(project, dry=True))
    assert snakemake(project, "--touch", "--", "train")[1] == 0
    printed, status = snakemake(project, "--", "evaluate")
    assert status == 0 and "The report will refuse these numbers" in " ".join(printed.split())
    if change is not edited:
        assert f"evaluate/{RUN}" not in short(jobs(project, "--config", "allow_dirty=true"))
        assert "no-commit" in (project / "results/report/e2e/results.csv").read_text()


def test_runs_without_a_commit_are_named_before_others_are_made(project):
    edited(project)
    snakemake(project, "--", "evaluate", check=True)
    commit(project, "too late for those")
    shutil.rmtree(project / "results/train/e2e/tiny-t5/full/toy/fixed/seed1")
    printed, status = snakemake(project)
    assert status == 1 and "4 runs here were made from code that no commit held" in " ".join(printed.split())
    assert not (project / "results/train/e2e/tiny-t5/full/toy/fixed/seed1").exists()


def test_a_figure_is_drawn_from_a_dirty_tree(project):
    """Runs have their commits, so the report admits them."""
    path = project / "dp/report/figures/chosen_splits.py"
    path.write_text(path.read_text() + "\nEDITED = True\n")
    assert short(jobs(project)) == ["report"]


def test_dvc_refuses_before_it_trains(project):
    """Its stages end before the report, which would refuse."""
    dvc(project, "repro", "train")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "recorded")
    shutil.rmtree(project / EVALUATION)
    shutil.rmtree(project / "results/train/e2e/tiny-t5/full/toy/fixed/seed1")
    edited(project)
    printed, status = run(project, BIN / "dvc", "repro", check=False)
    assert status != 0 and "so no job was started" in " ".join(printed.split())
    assert not (project / "results/train/e2e/tiny-t5/full/toy/fixed/seed1").exists()
