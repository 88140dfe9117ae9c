"""Benchmarks keep running: on next to nothing here, where no figure of theirs means anything."""

import subprocess
import sys

import pytest
from conftest import PATIENCE, ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    "command, last",
    [
        (["audit.py", "--runs", "3", "--repeats", "1"], "before jobs, as warm"),
        (["calibration.py", "--draws", "20"], "90 %, 10 points worse"),
        (["verdicts.py", "--sets", "5"], "wrong `differs` with 5 seeds"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_benchmark_runs_to_its_last_line(command, last, tmp_path):
    name, *arguments = command
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / name, *arguments], cwd=tmp_path, text=True,
                          stdout=subprocess.PIPE, timeout=PATIENCE, check=True)  # fmt: skip
    assert done.stdout.splitlines()[-1].startswith(last)
