"""Benchmarks keep running: on next to nothing here, where no figure of theirs means anything."""

import json
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


@pytest.mark.slow
def test_peers_are_compared_to_the_last_line(tmp_path):
    """What they compute is held in test_peers.py."""
    told = tmp_path / "peers.json"
    command = [sys.executable, ROOT / "benchmarks" / "peers.py", "--backbone", "tiny-llama", "--task", "wic",
               "--device", "cpu", "--variants", "fixed", "--repetitions", "1", "--updates", "2", "--batch-size", "2",
               "--micro-batch-size", "1", "--max-tokens", "40", "--prompt-length", "3", "--json", told]  # fmt: skip
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, timeout=PATIENCE, check=True)
    assert done.stdout.splitlines()[-1].startswith("| fixed: operations executed over needed | 1.0")
    lines = json.loads(told.read_text())["lines"]
    assert [line["contestant"] for line in lines] == ["peft", "peft-tuned", "ours"]
    for line in lines:
        (one,) = line["repetitions"]
        assert line["rows_per_second"][1] == pytest.approx(4 / one["seconds"])
        assert line["seconds_of_cell"] > one["start"] > 0 and line["peak_bytes"] > 0


@pytest.mark.slow
def test_the_engine_tells_what_every_way_took(tmp_path):
    told = tmp_path / "engine.json"
    command = [sys.executable, ROOT / "benchmarks" / "engine.py", "--backbone", "tiny-t5", "--task", "wic",
               "--device", "cpu", "--seeds", "2", "--updates", "3", "--repetitions", "2", "--batch-size", "4",
               "--micro-batch-size", "2", "--max-tokens", "40", "--prompt-length", "3", "--torch-compile", "none",
               "--json", told]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, text=True, stdout=subprocess.PIPE, timeout=PATIENCE, check=True)
    assert done.stdout.splitlines()[-1].startswith("| 2 seeds together | ")
    found = json.loads(told.read_text())
    alone, both = found["ways"]
    assert [alone["way"], both["way"]] == ["one run", "2 seeds together"] and alone["gain"] == 1
    assert both["gain"] == pytest.approx(2 * alone["update"] / both["update"])
    assert alone["same_bytes"] and both["same_bytes"] and both["loss_from_first"] < 1e-4
    assert both["needed"] * both["update"] == pytest.approx(2 * alone["needed"] * alone["update"])
