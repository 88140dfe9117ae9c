"""Whatever file of the project a command opens is code, or one of those that make its jobs stale."""

import sys
from pathlib import Path

import pytest
from conftest import ROOT
from small_project import Project

from dp.commands import cli
from dp.jobs.project import project_files
from dp.tasks import model

OPENED: list[str] = []
WATCHED = [False]


def _watch(event, arguments):
    if WATCHED[0] and event == "open" and isinstance(arguments[0], str | bytes):
        OPENED.append(str(Path(arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0])))


sys.addaudithook(_watch)  # it cannot be taken away again


def opened(*call):
    """Files below the project's `dp` and `workflow`, without code, that a command opens."""
    model.load.cache_clear()
    OPENED.clear()
    WATCHED[0] = True
    try:
        cli.main(list(call))
    finally:
        WATCHED[0] = False
    found = {Path(name).resolve() for name in OPENED}
    below = {path.relative_to(ROOT).as_posix() for path in found if path.is_relative_to(ROOT)}
    return {name for name in below if name.startswith(("dp/", "workflow/")) and not name.endswith((".py", ".pyc"))}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("small"), ["majority", "fixed"])


def test_every_file_of_the_project_that_a_command_opens_makes_its_jobs_stale(small, monkeypatch):
    monkeypatch.chdir(small.root)
    # What a task's file says of its source stands in `asked`.
    monkeypatch.setattr("dp.study.study.source_kind", lambda task, wanted: wanted)
    run = "tiny-t5/full/toy/fixed/seed0"
    calls = {
        "fetch-task": ["--task", "toy"],
        "fetch-backbone": ["--backbone", "tiny-t5"],
        "tokenize": ["--backbone", "tiny-t5", "--task", "toy"],
        "features": ["--backbone", "tiny-t5", "--task", "toy"],
        "train": ["--run", run],
        "evaluate": ["--run", run],
    }
    for command, words in calls.items():
        assert opened(command, *words) == set(project_files(command, "toy")), command
    cli.main(["evaluate", "--run", run.replace("fixed", "majority")])
    report = opened("report", "--set", "allow_dirty=true")
    assert report <= set(project_files("report")) and "dp/report/page/page.css" in report
