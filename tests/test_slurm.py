"""profiles/slurm through a real controller, of one node on this machine (profiles/slurm/controller.sh): a scale to its
report, and each way in which a cluster loses a job.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from built_project import BIN, commit, environment, make, run, snakemake
from conftest import ROOT

from dp import files

NEEDED = ("slurmctld", "slurmd", "munged", "sbatch")
MISSING = [tool for tool in NEEDED if shutil.which(tool) is None and shutil.which(f"/usr/sbin/{tool}") is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(MISSING), reason=f"SLURM is not installed here ({', '.join(MISSING)}): apt-get install slurm-wlm munge"
    ),
]
TRAINED = "results/train/e2e/tiny-t5/full/toy/fixed/seed0"
LOG = "results/logs/train/e2e/tiny-t5/full/toy/fixed/seed0.log"
SOON = ("--slurm-init-seconds-before-status-checks", "3")


@pytest.fixture(scope="module")
def controller(tmp_path_factory):
    """Its commands' folder, in PATH as long as it lasts."""
    folder = tmp_path_factory.mktemp("slurm")
    script = ROOT / "profiles/slurm/controller.sh"
    sane = os.environ | {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    started = subprocess.run([script, "start", folder], env=sane | {"GPUS": "2"}, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{folder / 'bin'}:{before}"
    yield folder
    os.environ["PATH"] = before
    subprocess.run([script, "stop", folder], env=sane, check=True)


@pytest.fixture(scope="module")
def root(controller, tmp_path_factory):
    """A project whose rows, backbone and tokens were made on the login node, as for nodes without a network."""
    root = make(tmp_path_factory.mktemp("project") / "study", variants="majority, fixed", seeds="0", steps=3000)
    scale = root / "workflow/scales/e2e.yaml"
    scale.write_text(scale.read_text().replace("{device: cpu}", "{device: auto}"))  # a GPU, where the cluster has any
    commit(root, "device: auto")
    snakemake(root, "--", "tokenize", check=True)
    return root


@pytest.fixture
def untrained(root):
    """It, with nothing trained, whatever a test before left."""
    shutil.rmtree(root / "results/train", ignore_errors=True)
    shutil.rmtree(root / "results/logs/slurm", ignore_errors=True)
    shutil.rmtree(root / ".snakemake/incomplete", ignore_errors=True)
    return root


def command(*arguments):
    return [BIN / "snakemake", "--workflow-profile", "profiles/slurm", "--nocolor", *SOON, *arguments]


def on_cluster(root, *arguments):
    """What `snakemake` printed, and its exit status."""
    return run(root, *command(*arguments), check=False)


@contextlib.contextmanager
def beside(root, *arguments):
    """A `snakemake` that runs beside the block, whose end it waits for."""
    said = root / "said.txt"
    with said.open("w") as file:
        process = subprocess.Popen(command(*arguments), cwd=root, env=environment(root), stdout=file, stderr=file)
        try:
            yield process, said
            process.wait(300)
        finally:
            process.kill()


def slurm(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


def queue():
    """Number -> state of what is in the queue."""
    return dict(line.split() for line in slurm("squeue", "--noheader", "--format=%A %T").splitlines())


def wait_until(what, seconds=120):
    end = time.time() + seconds
    while not (found := what()):
        assert time.time() < end, "nothing came of it"
        time.sleep(0.2)
    return found


def running(root):
    """The mark of the training, as soon as it runs."""

    def mark():
        with contextlib.suppress(FileNotFoundError, ValueError):
            found = files.read_json(root / "results/logs/train/e2e/tiny-t5/full/toy/fixed/seed0.state.json")
            return found if found["state"] == "running" else None

    return wait_until(mark)


def logs(root):
    """What SLURM printed of jobs that ended badly."""
    return list((root / "results/logs/slurm").rglob("*.log"))


def made(root):
    return files.read_json(root / TRAINED / "record.json")["made"]


def test_a_scale_comes_through_to_its_report_in_groups(root):
    """The majority's evaluation, and the training with its own, come to the node as one job."""
    printed, status = on_cluster(root, "--cores", "2", "--groups", "train_run=runs", "evaluate_run=runs",
                                 "--group-components", "runs=2")  # fmt: skip
    assert status == 0, printed
    assert printed.count("has been submitted with SLURM jobid") == 2, printed  # the group, and the report
    assert (root / "results/report/e2e/results.csv").is_file()
    assert "Nothing to be done" in snakemake(root, "-n")[0]
    assert not logs(root), "logs of what ended well"


def test_memory_that_did_not_suffice_is_asked_for_twice_over(untrained):
    printed, status = on_cluster(
        untrained, "--set-resources", "train_run:mem_mb=500 if attempt == 1 else 3000", "--", "train"
    )
    assert status == 0, printed
    assert printed.count("Trying to restart job") == 1
    (log,) = logs(untrained)
    assert "exceeded memory limit" in log.read_text()


def test_a_training_that_ran_out_of_time_goes_on_where_it_stood(untrained):
    with beside(untrained, "--set-resources", "train_run:runtime=1 if attempt == 1 else 20", "--", "train") as (
        process,
        said,
    ):
        first = running(untrained)
        wait_until(lambda: (untrained / TRAINED / "state/state.safetensors").is_file())
        os.kill(first["pid"], signal.SIGSTOP)  # it hangs
    assert process.returncode == 0, said.read_text()
    assert "SLURM status is: 'TIMEOUT'" in said.read_text()
    steps = re.findall(r"(\d+)/3000", (untrained / LOG).read_text())
    assert 0 < int(steps[0]) < int(steps[-1]), "the second attempt began anew"


def test_a_cancelled_job_is_tried_again_and_nobody_else_works_in_the_folder(untrained):
    with beside(untrained, "--", "train") as (process, said):
        job = running(untrained)["slurm_job"]
        assert "gpu:1" in slurm("scontrol", "show", "job", job)
        slurm("scancel", job)
        refused, status = on_cluster(untrained, "--", "train")
        assert status and "Directory cannot be locked" in refused
    assert process.returncode == 0, said.read_text()
    assert "SLURM status is: 'CANCELLED'" in said.read_text()


def test_a_lost_node_costs_no_attempt(untrained):
    """SLURM itself puts the job back into the queue, and it goes on when the node is there again."""
    node = slurm("sinfo", "--noheader", "--format=%n")
    with beside(untrained, "--", "train") as (process, said):
        first = running(untrained)
        slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        wait_until(lambda: not Path(f"/proc/{first['pid']}").exists())
        time.sleep(5)  # until the node has forgotten the job
        assert wait_until(lambda: queue().get(first["slurm_job"])) == "PENDING"
        # A node that answers is back by itself, which makes this an error.
        subprocess.run(["scontrol", "update", f"nodename={node}", "state=resume"])
        slurm("scontrol", "update", f"jobid={first['slurm_job']}", "starttime=now")
    assert process.returncode == 0, said.read_text()
    assert "Trying to restart" not in said.read_text()


def test_what_was_refused_in_words_is_not_done_again(untrained):
    scale = untrained / "workflow/scales/e2e.yaml"
    before = scale.read_text()
    scale.write_text(before.replace("max_tokens: 32", "max_tokens: 1"))
    try:
        printed, status = on_cluster(untrained, "--", "tokenize")
    finally:
        scale.write_text(before)
    assert status == 1 and "max_tokens" in printed and printed.count("Trying to restart job") == 2
    mark = files.read_json(untrained / "results/logs/tokenize/e2e/tiny-t5/toy/tokens.state.json")
    assert mark["slurm_job"] == min(re.findall(r"jobid (\d+)", printed), key=int), "the second attempt ran `dp`, too"


def test_ctrl_c_cancels_what_is_in_the_queue(untrained):
    with beside(untrained, "--", "train") as (process, said):
        first = running(untrained)
        process.send_signal(signal.SIGINT)
    assert process.returncode, said.read_text()
    wait_until(lambda: first["slurm_job"] not in queue())
    assert not (untrained / TRAINED / "record.json").is_file()


def test_a_job_that_was_killed_on_another_host_is_no_running_one(untrained):
    """SLURM says so, and what it printed is named beside the job's own log."""
    mark = {"command": "train", "state": "running", "pid": 1, "host": "elsewhere", "started": 1.0, "slurm_job": "99999"}
    own = untrained / LOG
    files.write_json(own.with_name("seed0.state.json"), mark)
    files.write_text(
        untrained / "results/logs/slurm/rule_train_run/e2e_seed0/99999.log",
        f"rule train_run:\n    log: {own.relative_to(untrained)}\nkilled\n",
    )
    told = json.loads(
        subprocess.run(
            [BIN / "python", "-m", "dp", "status", "--json"],
            cwd=untrained,
            env=environment(untrained),
            check=True,
            capture_output=True,
        ).stdout
    )
    (found,) = (one for one in told["not_done"] if one["folder"] == TRAINED)
    assert found["why"] == "killed; resumes from its last checkpoint"
    assert found["cluster_log"] == "results/logs/slurm/rule_train_run/e2e_seed0/99999.log"
