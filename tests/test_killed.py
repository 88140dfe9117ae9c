"""SIGKILL to the whole pipeline at random moments: started again, it ends with the bytes of an undisturbed run.

3 moments with the slow tests; `pytest -s -m exhaustive tests/test_killed.py` takes 100, about half an hour.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from built_project import BIN, environment, jobs
from timeless import content, rows

from dp import files
from dp.lineage.auditing import before_jobs
from dp.study import resolve
from dp.study.study import load

pytestmark = pytest.mark.slow
TENS = [pytest.param(n, 10, id=f"10-{n}", marks=pytest.mark.exhaustive) for n in range(1, 11)]


def made(results):
    """What every file says apart from times. Pages and drawings of a report are made from its tables."""
    phases = ("download", "tokenize", "train", "evaluate")
    found = {path: content(path) for phase in phases for path in sorted((results / phase).rglob("*")) if path.is_file()}
    found |= {path: rows(path) for path in sorted((results / "report").rglob("*.csv"))}
    return {path.relative_to(results).as_posix(): one for path, one in found.items()}


def seconds(results):
    return sum(files.read_json(path)["made"]["wall_seconds"] for path in results.rglob("record.json"))


def start(root):
    # What `snakemake --unlock` does, without its start.
    shutil.rmtree(root / ".snakemake/locks", ignore_errors=True)
    command = [BIN / "snakemake", "--cores", "2"]
    with (root / "said.txt").open("w") as said:
        return subprocess.Popen(
            command, cwd=root, env=environment(root), stdout=said, stderr=said, start_new_session=True
        )


def marks(root):
    """The jobs that began, each time."""
    found = set()
    for path in (root / "results/logs").rglob("*.state.json"):
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            found.add((path, path.stat().st_mtime_ns))
    return found


def kill(process, root, draw, span):
    """SIGKILL to the whole group, at any time after the start or after the first job began; whether it still ran."""
    is_early, before = draw.random() < 0.2, marks(root)
    while not is_early and process.poll() is None and marks(root) <= before:
        time.sleep(0.005)
    try:
        process.wait(draw.uniform(0, 3 if is_early else span))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


@pytest.mark.parametrize(("number", "moments"), [pytest.param(0, 3, id="3"), *TENS])
def test_killed_at_random_moments(project, monkeypatch, number, moments):
    """Whatever has a record is whole after every kill; and each run, however often killed, ends with the same bytes."""
    monkeypatch.chdir(project)
    expected, span = made(project / "results"), seconds(project / "results") / 2
    asked, draw = resolve.jobs(load(project)), random.Random(number)
    killed = runs = 0
    process = None
    while killed < moments or process.returncode != 0:
        if process is None or process.returncode == 0:
            shutil.rmtree(project / "results")
        process = start(project)
        if killed == moments:
            process.wait()
        elif kill(process, project, draw, span):
            killed += 1
            assert before_jobs(asked)[0] == []
            continue
        assert process.returncode == 0, (project / "said.txt").read_text()
        assert jobs(project, dry=True) == []
        runs += 1
        found = made(project / "results")
        assert {path for path in expected | found if expected.get(path) != found.get(path)} == set()
    print(f"\n{killed} moments in {runs} runs of {len(expected)} files: the same bytes each time")
