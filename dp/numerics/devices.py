"""One job per GPU, and a fixed number of threads per CPU job."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from dp.errors import UserError
from dp.numerics.compute import Compute


@contextmanager
def device(compute: Compute) -> Iterator[str]:
    """The device of this job: "cpu", or a "cuda:<n>" that no other job of this machine holds until the block ends.

    Waits while every GPU is held. Raises UserError where `compute.device` is cuda and there is none.
    """
    torch.set_num_threads(compute.threads)
    if is_cpu(compute.device):
        yield "cpu"
        return
    if not torch.cuda.is_available():
        raise UserError("compute.device is cuda, but torch finds no GPU; set it to auto or cpu in the scale file.")
    # cuBLAS repeats its bytes only with a fixed workspace, which must be set before CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Strictly, floating-point cumsum would raise; only warned, fused attention keeps its backward that does not repeat.
    # So a GPU's bytes may differ from run to run, and its records say so (dp/jobs/record.py).
    torch.use_deterministic_algorithms(True, warn_only=True)
    with _first_free(torch.cuda.device_count()) as number:
        torch.cuda.set_device(number)
        yield f"cuda:{number}"


def is_cpu(device: str) -> bool:
    """Whether `compute.device` means the CPU on this machine."""
    return device == "cpu" or (device == "auto" and not torch.cuda.is_available())


@contextmanager
def _first_free(count: int) -> Iterator[int]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    names = visible if len(visible) == count and all(visible) else [str(n) for n in range(count)]
    folder = Path(tempfile.gettempdir())
    while True:
        for number, name in enumerate(names):
            lock = FileLock(folder / f"dynamic-prompting-gpu-{name}.lock", mode=0o666)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue
            try:
                yield number
            finally:
                lock.release()
            return
        time.sleep(1)
