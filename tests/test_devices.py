"""One job per GPU: two jobs never hold the same one, and a third waits."""

import os
import threading
from types import SimpleNamespace

import pytest
import torch

from dp.errors import UserError
from dp.jobs import record
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


@pytest.fixture
def a_gpu(monkeypatch):
    """What torch says of one, on a machine that need not have it. What a job sets is put back."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    facts = {"is_available": True, "is_initialized": True, "device_count": 1, "current_device": 0,
             "get_device_properties": SimpleNamespace(name="a GPU")}  # fmt: skip
    for name, said in facts.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_, said=said: said)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _: None)
    yield
    torch.use_deterministic_algorithms(False)
    os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def test_a_record_says_that_a_gpus_bytes_may_differ_as_long_as_torch_only_warns(a_gpu):
    with devices.device(Compute(device="cuda")) as where:
        assert where == "cuda:0" and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert torch.are_deterministic_algorithms_enabled()
        # torch, attention_backward.cu: only warned, the backward pass of fused attention splits its sums as it likes.
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        said = record.environment()
        assert said["device"] == "a GPU" and said["deterministic"] is False and "attention" in said["why"]
        torch.use_deterministic_algorithms(True, warn_only=False)
        strict = record.environment()
    assert strict["deterministic"] is True and "why" not in strict


def test_on_a_cpu_nothing_is_set_or_said_of_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    with devices.device(Compute(device="cpu")):
        assert not torch.are_deterministic_algorithms_enabled()
        said = record.environment()
    assert said["device"] == "cpu" and not {"deterministic", "why"} & said.keys()
