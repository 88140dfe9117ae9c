"""A digest is right at all times, and read from disk again only where its file may have changed."""

import os
import sqlite3
import subprocess
import sys
import time
from hashlib import sha256

import pytest
from records import record as complete

from dp import files
from dp.jobs.digests import FILE, Digests


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, text, age=100.0):
    with open(name, "w") as file:
        file.write(text)
    os.utime(name, (time.time() - age,) * 2)


def right(*names):
    return {name: sha256(open(name, "rb").read()).hexdigest() for name in names}


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that are hashed, in their order."""
    found, hashed = [], files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: found.append(str(path)) or hashed(path))
    return found


def test_only_what_changed_is_read_again(here, reads):
    write("a", "one")
    write("b", "other")
    digests = Digests()
    assert digests.of(["b", "a", "gone", ".", "b"]) == right("b", "a")
    assert (digests.read, digests.hashed, sorted(reads)) == (2, 8, ["a", "b"])
    del reads[:]
    assert list(Digests().of(["b", "a"])) == ["b", "a"] and reads == []
    write("b", "longer than before")
    digests = Digests()
    assert digests.of(["a", "b"]) == right("a", "b")
    assert (digests.read, digests.hashed, reads) == (2, 18, ["b"])


@pytest.mark.parametrize("what", ["size", "time", "inode"])
def test_every_sign_of_a_change_counts(here, what):
    write("a", "one")
    Digests().of(["a"])
    facts = os.stat("a")
    if what == "inode":
        write("b", "two")
        os.utime("b", ns=(facts.st_atime_ns, facts.st_mtime_ns))
        os.replace("b", "a")
    else:
        write("a", "longer" if what == "size" else "two")
        os.utime("a", ns=(facts.st_atime_ns, facts.st_mtime_ns + (what == "time")))
    assert Digests().of(["a"]) == right("a")


def test_full_believes_no_time_stamp(here):
    write("a", "one")
    old = Digests().of(["a"])
    facts = os.stat("a")
    write("a", "two")
    os.utime("a", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert Digests().of(["a"]) == old, "the same size, time and inode: nothing tells the edit"
    assert Digests(full=True).of(["a"]) == right("a")
    assert Digests().of(["a"]) == right("a"), "what was read in full is kept"


@pytest.mark.parametrize("age", [0.0, 1.5, -50.0])
def test_a_fresh_file_is_not_believed(here, reads, age):
    """It may be edited again within the tick of the file system's clock."""
    write("a", "one", age)
    facts = os.stat("a")
    Digests().of(["a"])
    write("a", "two")
    os.utime("a", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert Digests().of(["a"]) == right("a")
    assert reads == ["a", "a"]


def test_a_file_that_changes_while_it_is_read_is_not_kept(here, monkeypatch):
    write("a", "one")
    hashed = files.sha256

    def slow(path):
        digest = hashed(path)
        write("a", "longer", 50)
        return digest

    monkeypatch.setattr(files, "sha256", slow)
    Digests().of(["a"])
    monkeypatch.setattr(files, "sha256", hashed)
    assert Digests().of(["a"]) == right("a")


def test_a_file_that_vanishes_before_it_is_read_is_none(here, monkeypatch):
    write("a", "one")

    def gone(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(files, "sha256", gone)
    assert Digests().of(["a"]) == {}


def test_records_are_read_once(here, monkeypatch):
    outputs = {"out": "0" * 64}
    files.write_json(here / "good.json", complete("fetch-task", outputs=outputs))
    files.write_json(here / "edited.json", complete("fetch-task", outputs=outputs) | {"more": 1})
    write("text.json", "no json")
    for name in ("good.json", "edited.json"):
        os.utime(name, (time.time() - 100,) * 2)
    names = ["good.json", "edited.json", "text.json", "gone.json"]
    expected = {name: (digest, None) for name, digest in right(*names[:3]).items()}
    expected["good.json"] = (expected["good.json"][0], outputs)
    assert Digests().records(names) == expected
    monkeypatch.setattr("dp.jobs.digests._outputs", None)
    assert Digests().records(names) == expected


def test_a_broken_or_foreign_file_is_made_anew_with_a_word(here, reads, capsys):
    write("a", "one")
    FILE.parent.mkdir(parents=True)
    FILE.write_text("no database " * 1000)
    assert Digests().of(["a"]) == right("a")
    assert "is made anew" in capsys.readouterr().err
    FILE.unlink()
    with sqlite3.connect(FILE) as other:
        other.execute("CREATE TABLE files (path TEXT)")
    other.close()
    assert Digests().of(["a"]) == right("a")
    assert "is made anew" in capsys.readouterr().err
    del reads[:]
    assert Digests().of(["a"]) == right("a")
    assert (reads, capsys.readouterr().err) == ([], "")
    with FILE.open("r+b") as file:  # every page but the first
        size = FILE.stat().st_size
        file.seek(4096)
        file.write(b"x" * (size - 4096))
    assert Digests().of(["a"]) == right("a")
    assert "is made anew" in capsys.readouterr().err


def test_without_a_place_for_the_file_digests_are_still_right(here, capsys):
    write("a", "one")
    (here / ".cache").write_text("in the way")
    assert Digests().of(["a"]) == right("a")
    assert "going on without it" in capsys.readouterr().err


def test_several_processes_may_write_at_once(here):
    for number in range(40):
        write(f"f{number}", f"text {number}")
    code = """
from dp.jobs.digests import Digests
for number in range(40):
    Digests().of([f"f{number}"])
print(len(Digests().of(f"f{n}" for n in range(40))))
"""
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True) for _ in range(2)]
    assert [process.communicate() for process in started] == [("40\n", "")] * 2
    with sqlite3.connect(FILE) as database:
        assert database.execute("SELECT count(*) FROM files").fetchone() == (40,)
    database.close()
