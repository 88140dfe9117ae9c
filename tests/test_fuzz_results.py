"""Whatever became of finished results: each command says what is wrong, and none takes damage for what a job wrote."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from damage import Edit, Spoil, edited, edits, json_bytes, spoiled, spoils, values
from fuzzing import counts, ended, explore
from hypothesis import strategies as st
from small_project import in_a_clean_tree, made, reseal

from dp import files, paths
from dp.commands import cli
from dp.errors import UserError
from dp.lineage import syncing as sync
from dp.study.resolve import jobs

ROWS = "results/report/small/results.csv"
COMMANDS = [
    ["audit", "--json"],
    ["audit", "--full"],
    ["status"],
    ["status", "--json"],
    ["why", f"{ROWS}:2"],
    ["why", f"{ROWS}:4", "--json"],
    ["plan"],
    ["diff", "."],
    ["claims"],
    ["report"],
    ["export"],
]


class Damage(NamedTuple):
    """`seal`: the record vouches for it afterwards, as one of another version of the code would."""

    path: str
    change: list[Edit] | list[Spoil] | str
    seal: bool = False


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    with made(root, ["majority", "fixed", "adap_ins_pos"]) as project:
        yield root, project.study


@pytest.fixture
def project(small, tmp_path, monkeypatch):
    root, study = small
    shutil.copytree(root, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    in_a_clean_tree(monkeypatch)
    return study


def damages(root):
    """Damages of one file: of its bytes, of what a JSON file says, or of the file as such."""
    found = sorted(str(path.relative_to(root)) for path in (root / "results").rglob("*") if path.is_file())
    trees = {path: files.read_json(root / path) for path in found if path.endswith(".json")}
    trees |= {path: files.read_jsonl(root / path) for path in found if path.endswith(".jsonl")}
    records = [path for path in trees if path.endswith("/record.json")]
    of_bytes = st.builds(Damage, st.sampled_from(found), spoils(), st.booleans())
    of_file = st.builds(Damage, st.sampled_from(found), st.sampled_from(["gone", "folder", "link"]), st.just(False))

    def of_tree(path):
        return st.builds(Damage, st.just(path), edits(trees[path], values), st.booleans())

    return st.one_of(
        of_bytes, of_file, st.sampled_from(records).flatmap(of_tree), st.sampled_from(sorted(trees)).flatmap(of_tree)
    )


def do(damage, path):
    """Damage a file; whether what it says is another now."""
    old = path.read_bytes()
    match damage.change:
        case "gone" | "folder" | "link":
            path.unlink()
            if damage.change == "folder":
                path.mkdir()
            if damage.change == "link":
                path.symlink_to("nowhere")
            return True
        case [Spoil(), *_]:
            path.write_bytes(spoiled(old, damage.change))
        case _ if path.suffix == ".jsonl":
            found = edited([json.loads(line) for line in old.splitlines()], damage.change)
            lines = found if isinstance(found, list) else [found]
            path.write_bytes(b"".join(json_bytes(line) + b"\n" for line in lines))
        case _:
            path.write_bytes(json_bytes(edited(json.loads(old), damage.change)))
    if damage.seal:
        with contextlib.suppress(UserError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
            reseal(path)
    return path.read_bytes() != old and (path.name != "record.json" or not _says(path, old))


def _says(path, old):
    try:
        return json.loads(path.read_bytes()) == json.loads(old)
    except (ValueError, RecursionError):
        return False


@contextlib.contextmanager
def restored(root, *folders):
    """Folders as they were, afterwards; and no crate."""
    try:
        yield
    finally:
        shutil.rmtree("results-crate", ignore_errors=True)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(root / folder, folder)


@counts(few=25, share=0.02)
def test_damaged_results(small, project, cases):
    root, _ = small
    drawn = st.tuples(damages(root), st.sampled_from(COMMANDS))

    def property(case):
        damage, arguments = case
        with restored(root, Path(damage.path).parent, *([paths.REPORT] if arguments == ["report"] else [])):
            is_other = do(damage, Path(damage.path))
            status = ended(cli.main, arguments)
            if arguments[0] == "audit" and is_other and not damage.seal and status != 1:
                raise AssertionError("audit passes over damage")
            return f"{arguments[0]} {status}"

    explore(property, drawn, cases, shrink=False)


@counts(few=20, share=0.005)
def test_sync_takes_over_nothing_that_is_damaged(small, project, cases):
    root, study = small
    asked = jobs(study)

    def property(damage):
        with restored(root, Path(damage.path).parent):
            is_other = do(damage, Path(damage.path))
            status = ended(sync.check, asked)
            if is_other and not damage.seal and not status and damage.path.startswith("results/"):
                raise AssertionError("sync takes over damage")
            return f"sync {status}"

    explore(property, damages(root), cases, shrink=False)
