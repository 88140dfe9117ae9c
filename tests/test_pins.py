"""A download is stale where hub.lock.yaml pins another commit than it was made from."""

import pytest
import yaml
from records import record

from dp.jobs import pins, stale
from dp.jobs.closure import code_digest
from dp.jobs.job import Job
from dp.paths import backbone

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def locked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(commit, repo="google/t5"):
        (tmp_path / "workflow").mkdir(exist_ok=True)
        lock = {repo: {"main": {"commit": commit, "files": {"config.json": "0" * 64}}}}
        (tmp_path / "workflow" / "hub.lock.yaml").write_text(yaml.safe_dump(lock))

    return write


def test_another_pin_is_a_reason_and_the_same_or_none_is_not(locked):
    made = record("fetch-backbone", {"family": "seq2seq"}, repo="google/t5", revision="main", commit=OLD)
    job = Job(backbone("t5"), "fetch-backbone", {"family": "seq2seq"}, ())
    assert pins.moved(made) is None
    for commit, why in ((OLD, []), (NEW, [f"workflow/hub.lock.yaml pins commit {NEW} of google/t5, "
                                          f"and it was made from {OLD}"])):  # fmt: skip
        locked(commit)
        assert list(stale.reasons(job, made, code_digest("fetch-backbone"), lambda _: None)) == why
    locked(NEW, "datasets/google/t5")  # rows of that name are another repository
    assert pins.moved(made) is None
    assert pins.moved(record("fetch-task", repo="google/t5", revision="main", commit=OLD))


def test_what_is_of_no_hub_has_no_pin():
    assert pins.moved(record("fetch-backbone")) is None
