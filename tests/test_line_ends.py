"""Line ends: a checkout has the repository's, and a tree that has others is told so, not called another commit."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from dp.errors import UserError
from dp.jobs import closure, project
from dp.lineage import syncing as sync

TASK = "dp/tasks/toy.yaml"


def git(folder, *words):
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    return subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def repository(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "first")
    return root


def test_a_clone_under_autocrlf_has_the_bytes_of_the_repository(tmp_path):
    names = (
        ".gitattributes",
        TASK,
        "dp/report/figures/style.py",
        "docs/demo/figures/predictions.png",
        "docs/demo/results.csv",
    )
    (tmp_path / "first").mkdir()
    repository(tmp_path / "first", *names)
    git(tmp_path, "clone", "-q", "-c", "core.autocrlf=true", "first", "clone")
    for name in names:
        assert (tmp_path / "clone" / name).read_bytes() == (ROOT / name).read_bytes(), name


def test_the_remedy_that_sync_names_writes_them_anew(tmp_path, monkeypatch):
    """A clone from before .gitattributes: sync names files and remedy, which works."""
    (tmp_path / "first").mkdir()
    first = repository(tmp_path / "first", TASK, "params.yaml")
    git(tmp_path, "clone", "-q", "-c", "core.autocrlf=true", "first", "clone")
    shutil.copy(ROOT / ".gitattributes", first)
    git(first, "add", "-A")
    git(first, "commit", "-qm", "attributes")
    git(tmp_path / "clone", "pull", "-q")
    monkeypatch.chdir(tmp_path / "clone")
    assert b"\r\n" in Path(TASK).read_bytes() and git(Path(), "status", "--porcelain") == ""
    changed = {"download": [{"changed deps": {"dp": "modified", "params.yaml": "modified"}}]}

    def call(*command, **more):
        return subprocess.CompletedProcess(
            command, 0, json.dumps(changed) if "--json" in command else "dp: modified", ""
        )

    monkeypatch.setattr(sync.doors, "call", call)
    with pytest.raises(UserError) as raised:
        sync._compare()
    words = str(raised.value)
    assert f"2 files here end their lines with CR LF ({TASK}, params.yaml)" in words and "check out" not in words
    subprocess.run("git rm -rq --cached . && git reset -q --hard", shell=True, check=True)
    assert Path(TASK).read_bytes() == (ROOT / TASK).read_bytes()
    with pytest.raises(UserError, match="check out the commit"):
        sync._compare()


def digests_of_project():
    names = (*project.project_files("report"), *project.project_files("tokenize", "toy"))
    return {name: project.project_digest(name) for name in names}


def test_line_ends_of_a_file_that_a_job_reads_are_no_change(tmp_path, monkeypatch):
    """Nor are those of code: YAML, CSV and the page's parts read the same either way."""
    expected = digests_of_project()
    shutil.copytree(ROOT / "dp", tmp_path / "dp", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(project, "PACKAGE", tmp_path / "dp")
    for name in expected:
        path = tmp_path / name
        path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert digests_of_project() == expected
    path = tmp_path / "dp/report/figures/style.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert closure._digest(path) == closure._digest(ROOT / "dp/report/figures/style.py")
    (tmp_path / TASK).write_bytes((tmp_path / TASK).read_bytes().replace(b"question", b"query"))
    assert project.project_digest(TASK) != expected[TASK]
