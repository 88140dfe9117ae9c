"""One job per GPU: two jobs never hold the same one, and a third waits."""

import threading

import pytest
import torch

from dp.errors import UserError
from dp.numerics import devices
from dp.numerics.compute import Compute


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(devices.tempfile, "gettempdir", lambda: str(tmp_path))


def test_jobs_take_different_gpus_and_the_next_waits_for_a_free_one():
    third = []

    def wait_for_one():
        with devices._first_free(2) as number:
            third.append(number)

    with devices._first_free(2) as first:
        with devices._first_free(2) as second:
            assert {first, second} == {0, 1}
            waiting = threading.Thread(target=wait_for_one)
            waiting.start()
            waiting.join(0.3)
            assert third == []
        waiting.join(5)
    assert third == [second]


def test_locks_are_by_the_gpus_own_number(monkeypatch):
    """Job A sees GPUs 2 and 3, job B sees 3 alone: A must not hold what B calls 0."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    with devices._first_free(2) as first, devices._first_free(2) as second:
        assert (first, second) == (0, 1)
        assert sorted(p.name for p in devices.Path(devices.tempfile.gettempdir()).glob("*.lock")) == [
            "dynamic-prompting-gpu-2.lock",
            "dynamic-prompting-gpu-3.lock",
        ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_asking_for_a_missing_gpu_is_an_error():
    with (
        pytest.raises(UserError, match=r"compute\.device is cuda, but torch finds no GPU"),
        devices.device(Compute(device="cuda")),
    ):
        pass
    with devices.device(Compute()) as where:
        assert where == "cpu" and torch.get_num_threads() == 1
