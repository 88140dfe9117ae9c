"""dvc.lock: what DVC recorded of each stage, and which outputs differ from it."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dp import yaml12
from dp.closed import explain
from dp.errors import UserError
from dp.jobs import git
from dp.jobs.finding import Finding
from dp.lineage import doors

LOCK = Path("dvc.lock")


class _OfDvc(BaseModel):
    """What is read here, of much that DVC writes."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Out(_OfDvc):
    path: str
    nfiles: int = 1


class _Stage(_OfDvc):
    cmd: str
    outs: list[_Out] = []


class _DvcLock(_OfDvc):
    stages: dict[str, _Stage] = {}


def parse(text: bytes, where: str) -> dict[str, Any]:
    """Stage -> its `cmd` and `outs` (`path`, `nfiles`); none where nothing was recorded.

    Raises UserError where the text is not what DVC writes.
    """
    try:
        return _DvcLock.model_validate(yaml12.parse(text, where) or {}).model_dump()["stages"]
    except ValidationError as error:
        raise UserError(f"{where}: is not what DVC writes: {explain(error, _DvcLock)}.") from None


def unlocked() -> tuple[list[Finding], list[str]]:
    """One finding per out; and a line that says why nothing was checked, without dvc.lock, git or dvc."""
    if not LOCK.is_file():
        return [], ["unlocked was not checked: there is no dvc.lock; `dvc repro` writes it"]
    if find_spec("dvc") is None:
        return [], ["unlocked was not checked: dvc is not installed"]
    try:
        git.head(Path())
    except git.GitError as error:
        return [], [f"unlocked was not checked: git names no commit here ({error})"]
    done = doors.call("dvc", "status", "--json")
    if done.returncode:
        return [Finding("unlocked", LOCK, f"`dvc status` failed: {' '.join(done.stderr.split())}")], []
    changes = [change for stage in json.loads(done.stdout).values() for change in stage if isinstance(change, dict)]
    outs = {out: word for change in changes for out, word in change.get("changed outs", {}).items()}
    return [Finding("unlocked", Path(out), _why(word)) for out, word in sorted(outs.items())], []


def _why(word: str) -> str:
    if word == "not in cache":
        return "its recorded bytes are not in DVC's cache: `dvc fetch` gets them, `dvc repro` records what lies here"
    return (
        f"differs from dvc.lock ({word}): `dvc checkout --force` restores that, `dvc repro` records what was not edited"
    )
