"""Kept bytecode is of what the source says, whatever the time stamp; an edit of the same size among them."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

OLD = 1_000_000_000


@pytest.fixture
def say(tmp_path):
    """Write a module of a copy of the package under an old stamp, and have a process of its own import it."""
    (tmp_path / "dp/inner").mkdir(parents=True)
    shutil.copy(ROOT / "dp/__init__.py", tmp_path / "dp")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

    def imported(name, text):
        path = tmp_path / "dp" / name
        path.write_text(f"print('{text}')")
        os.utime(path, (OLD, OLD))
        module = "dp." + name.removesuffix(".py").replace("/", ".")
        command = [sys.executable, "-c", f"import {module}"]
        done = subprocess.run(command, cwd=tmp_path, env=env | {"PYTHONPATH": str(tmp_path)}, capture_output=True)
        assert not done.stderr, done.stderr
        assert list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc")), "there was bytecode to go wrong by"
        return done.stdout.decode().strip()

    return imported


@pytest.mark.parametrize("name", ["top.py", "inner/module.py"])
def test_an_edit_of_the_same_size_under_an_old_stamp_runs(say, name):
    assert [say(name, text) for text in ("one", "two", "two", "one")] == ["one", "two", "two", "one"]
