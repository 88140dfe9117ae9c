"""A record vouches for itself and for the bytes beside it; what is no code changes no digest."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from dp import files, paths
from dp.errors import Interrupted, UserError
from dp.jobs import mark as state
from dp.jobs import record
from dp.jobs.inputs import verified
from dp.jobs.job import Job
from dp.jobs.source import code_of

FOLDER = paths.TRAIN / "small" / "a" / "seed0"
JOB = Job(FOLDER, "report", {"steps": {2: "two", 10: "ten"}, "b": (1, 2)}, ("out.txt",))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FOLDER.mkdir(parents=True)


def made(text="bytes", **facts):
    with record.recording(JOB, {}) as found:
        files.write_text(FOLDER / "out.txt", text)
        found |= facts


def test_a_record_is_sealed_and_names_its_outputs(here):
    made(fact=0.1)
    assert record.read(FOLDER)["made"]["fact"] == 0.1
    both = {str(FOLDER / name): files.sha256(FOLDER / name) for name in ("out.txt", "SHA256SUMS")}
    assert verified(FOLDER) == both
    assert set(verified(FOLDER, ["SHA256SUMS"])) == {str(FOLDER / "SHA256SUMS")}


def test_the_sums_are_what_sha256sum_checks(here):
    made("one\n")
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=FOLDER, capture_output=True, text=True
    )
    assert done.stdout == "out.txt: OK\n"


@pytest.mark.parametrize(
    ("edit", "word"),
    [
        (lambda text: text.replace("0.1", "0.2"), "was edited"),
        (lambda text: text.replace('"fact"', '"other"'), "was edited"),
        (lambda text: text[:-20], "is no JSON"),
        (lambda text: "[]", "was edited"),
        (lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "seal"}), "was edited"),
    ],
)
def test_an_edited_record_is_refused(here, edit, word):
    made(fact=0.1)
    path = FOLDER / "record.json"
    path.write_text(edit(path.read_text()))
    with pytest.raises(UserError, match=f"{path}: {word}"):
        verified(FOLDER)


def test_a_record_that_was_only_laid_out_anew_is_the_same(here):
    made(fact=1.50)
    path = FOLDER / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text())))
    record.read(FOLDER)


def test_an_edited_or_missing_output_is_refused(here):
    made()
    (FOLDER / "out.txt").write_text("Bytes")
    with pytest.raises(UserError, match=r"out\.txt: its bytes differ"):
        verified(FOLDER)
    (FOLDER / "out.txt").unlink()
    with pytest.raises(UserError, match=r"out\.txt: is missing"):
        verified(FOLDER)


def test_a_job_leaves_a_mark_while_it_runs_and_after_it_failed(here):
    with pytest.raises(ValueError, match="broken"), record.recording(JOB, {}):
        assert state.read(FOLDER)["state"] == "running"
        raise ValueError("broken")
    found = state.read(FOLDER)
    assert (found["state"], found["error"], found["command"]) == ("failed", "ValueError: broken", "report")
    assert not (FOLDER / "record.json").exists()
    made()
    assert state.read(FOLDER) is None
    with pytest.raises(Interrupted), record.recording(JOB, {}):
        raise Interrupted
    assert state.read(FOLDER) is None


def test_a_job_whose_mark_cannot_be_written_goes_on_and_says_so(here, capsys):
    paths.state(FOLDER).parents[0].parent.mkdir(parents=True)
    paths.state(FOLDER).parents[0].touch()
    made()
    assert (FOLDER / "record.json").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("so `python -m dp status` will not know how this job is.")


def test_a_killed_job_counts_as_stopped(here):
    code = f"""
import os
from pathlib import Path
from dp.jobs.mark import marked
with marked(Path("{FOLDER}"), "train"):
    os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False)
    assert state.read(FOLDER)["state"] == "stopped"
    mark = files.read_json(paths.state(FOLDER))
    files.write_json(paths.state(FOLDER), mark | {"pid": os.getpid()})
    assert state.read(FOLDER)["state"] == "running"
    files.write_json(paths.state(FOLDER), mark | {"host": "elsewhere"})
    assert state.read(FOLDER)["state"] == "running", "nobody can tell from here"


HALF_WRITTEN = """
import os
from pathlib import Path
from dp.files import replacing
with replacing(Path("out.txt")) as one, replacing(Path("state/deep")) as other:
    one.write_text("half")
    other.write_text("half")
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_job_left_half_written_goes_with_the_next(here):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", HALF_WRITTEN], cwd=FOLDER, env=environment).returncode == -9
    assert len(list(FOLDER.rglob(".*.part"))) == 2
    made()
    assert sorted(path.name for path in FOLDER.rglob("*") if path.is_file()) == ["SHA256SUMS", "out.txt", "record.json"]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x = 1  # one\n", "x = 1\n"),
        ("# only words\nx = 1\n", "x = 1\n"),
        ('"""Module."""\nx = 1\n', "x = 1\n"),
        ('def f():\n    """Two\n    lines."""  # and more\n    return "#"  # é\n', 'def f():\n    return "#"\n'),
        ('x = "é"; "alone"  # é\n', 'x = "é";\n'),
        ('x = """\n# kept\n"""\n', 'x = """\n# kept\n"""\n'),
        ('x = f"{1}"  # f\n', 'x = f"{1}"\n'),
        ("\nx = 1\n\n\ny = 2\n\n# the end\n", "x = 1\ny = 2\n"),
        ('x = """a\n\n  \nb"""\n\n', 'x = """a\n\n  \nb"""\n'),
        ('x = f"""a\n\n{1}"""\n', 'x = f"""a\n\n{1}"""\n'),
        ("x = [  # first\n    1,\n    # second\n    2,\n]\n", "x = [\n    1,\n    2,\n]\n"),
    ],
)
def test_comments_and_docstrings_are_no_code(text, code):
    assert code_of(text) == code.rstrip("\n")


@pytest.mark.parametrize(
    ("one", "other"), [("x = 1\n", "x = 2\n"), ('x = "a"\n', 'x = "b"\n'), ("x = 1\n", "x =  1\n")]
)
def test_everything_else_is_code(one, other):
    assert code_of(one) != code_of(other)


IDENTITY = ("-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false")


def git(root, *arguments):
    subprocess.run(["git", *IDENTITY, *arguments], cwd=root, check=True, capture_output=True)


@pytest.fixture
def tracked(tmp_path):
    """A project in a folder of a repository, and the commit that holds it."""
    root = tmp_path / "repository/project"
    (root / "dp").mkdir(parents=True)
    (root / "dp/one.py").write_text("VALUE = 1\n")
    git(root.parent, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, check=True, capture_output=True, text=True)
    return root, head.stdout.strip()


def test_the_commit_of_a_project(tracked):
    root, head = tracked
    assert record.committed(root) == {"commit": head, "dirty": False}
    (root / "params.yaml").write_text("steps: 2\n")
    assert not record.commit(root)["dirty"], "parameters are no code"
    (root / "dp/two.py").touch()
    assert record.commit(root) == {"commit": head, "dirty": True}


@pytest.mark.parametrize("flag", ["assume-unchanged", "skip-worktree"])
def test_an_edit_that_git_was_told_to_pass_over_is_no_code_of_the_commit(tracked, flag):
    root, head = tracked
    git(root, "update-index", f"--{flag}", "dp/one.py")
    assert record.committed(root) == {"commit": head, "dirty": False}
    (root / "dp/one.py").write_text("VALUE = 2\n")
    assert record.changed_code(root) == ["dp/one.py"]


@pytest.mark.parametrize("pattern", ["two.py", "private/"])
def test_code_that_git_ignores_is_no_code_of_the_commit(tracked, pattern):
    root, _ = tracked
    (root.parent / ".git/info/exclude").write_text(f"{pattern}\n*.pyc\n*.swp\n")
    for name in ("private/two.py", "private/two.swp", "two.cpython-311.pyc"):
        (root / "dp" / name).parent.mkdir(exist_ok=True)
        (root / "dp" / name).touch()
    assert record.changed_code(root) == ["project/dp/private/two.py"]


def test_variables_of_a_hook_name_no_other_commit(tracked, tmp_path, monkeypatch):
    """git runs the hooks of one repository with variables that would send every call to it."""
    root, head = tracked
    git(tmp_path, "init", "-q", "other")
    git(tmp_path / "other", "commit", "-qm", "other", "--allow-empty")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other/.git/index"))
    assert record.committed(root) == {"commit": head, "dirty": False}


def test_where_git_names_no_commit_it_says_why(tracked, tmp_path, monkeypatch):
    root, _ = tracked
    (root.parent / "ignored/dp").mkdir(parents=True)
    (root.parent / ".git/info/exclude").write_text("ignored\n")
    git(tmp_path, "init", "-q", "unborn")
    monkeypatch.setenv("LC_ALL", "C")
    for folder, why in (
        (tmp_path, "fatal: not a git repository"),
        (tmp_path / "unborn", "fatal: Needed a single revision"),
        (root.parent / "ignored", f"{root.parent / 'ignored'} has no file of the project in its commit"),
    ):
        with pytest.raises(UserError, match=why):
            record.committed(folder)
        assert record.commit(folder) == {"commit": None, "dirty": None}
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="git cannot be started"):
        record.committed(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_clone_of_another_user_is_named_in_gits_words(tracked, monkeypatch):
    root, head = tracked
    for path in (root.parent, *root.parent.rglob("*")):
        os.chown(path, 12345, 12345)
    with pytest.raises(UserError, match=r"dubious ownership .*git config --global --add safe\.directory"):
        record.committed(root)
    for name, value in (("COUNT", "1"), ("KEY_0", "safe.directory"), ("VALUE_0", str(root.parent))):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert record.committed(root)["commit"] == head
