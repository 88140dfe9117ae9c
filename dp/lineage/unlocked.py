"""Outputs that differ from what DVC recorded in dvc.lock."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from dp.jobs import git
from dp.jobs.finding import Finding
from dp.lineage.dvc_lock import LOCK


def unlocked() -> tuple[list[Finding], list[str]]:
    """One finding per out; and a line that says why nothing was checked, without dvc.lock, git or dvc."""
    for is_there, what in (
        (LOCK.is_file(), "there is no dvc.lock; `dvc repro` writes it"),
        (find_spec("dvc") is not None, "dvc is not installed"),
    ):
        if not is_there:
            return [], [f"unlocked was not checked: {what}"]
    try:
        git.head(Path())
    except git.GitError as error:
        return [], [f"unlocked was not checked: git names no commit here ({error})"]
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=git.environment())
    if done.returncode:
        return [Finding("unlocked", LOCK, f"`dvc status` failed: {' '.join(done.stderr.split())}")], []
    changes = [change for stage in json.loads(done.stdout).values() for change in stage if isinstance(change, dict)]
    outs = {out: word for change in changes for out, word in change.get("changed outs", {}).items()}
    return [Finding("unlocked", Path(out), _why(word)) for out, word in sorted(outs.items())], []


def _why(word: str) -> str:
    if word == "not in cache":
        return "its recorded bytes are not in DVC's cache: `dvc fetch` gets them, `dvc repro` records what lies here"
    return f"differs from dvc.lock ({word}): `dvc repro` records it, `dvc checkout` restores what was recorded"
