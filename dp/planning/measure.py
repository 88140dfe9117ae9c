"""A few seconds of forward and backward passes, like those of training, through two layers as wide as a backbone's."""

import os
import time
from collections.abc import Callable

import torch

from dp.backbones.backbone import Backbone
from dp.backbones.definition import BackboneEntry
from dp.backbones.families import FAMILIES
from dp.numerics.devices import device
from dp.numerics.sequence import Sequence
from dp.planning.shapes import config_of, drawn, shape
from dp.planning.speeds import Sample, Speed, fitted
from dp.planning.work import PASSES, Work, flops
from dp.study.study import Study

ENOUGH = 0.4
"""Seconds of one pass after which no longer inputs are tried."""
REPEATS = 5
MOST = 3.0
"""Seconds that go to one length."""
PRODUCT = 1500
WORDS = 64  # rows of the embedding table, which no input passes


def measured(study: Study) -> list[Speed]:
    """Of every backbone of the scale, on the device and in the dtype that the scale computes with."""
    found = []
    with device(study.scale.compute) as where:
        torch.set_num_threads(min(study.scale.compute.threads, os.cpu_count() or 1))
        for name in study.scale.backbones:
            found.append(_measured(study, name, study.params.backbones[name], where))
    return found


def product(size: int = PRODUCT) -> float:
    """FLOP/s of one core in a float32 product of two size x size matrices, the best of REPEATS: compares machines."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        one = torch.ones(size, size)
        one @ one  # pays for memory and kernels
        return 2 * size**3 / min(_timed(lambda: one @ one, False) for _ in range(REPEATS))
    finally:
        torch.set_num_threads(before)


def busy() -> str | None:
    """A warning where more processes want to run than this machine has cores: all that is timed then is too slow."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load <= cores:
        return None
    return f"this machine is busy (load {load:.1f} on {cores} cores): alone, jobs will be faster than measured now."


def _measured(study: Study, name: str, backbone: BackboneEntry, where: str) -> Speed:
    config, family, head = config_of(name, backbone), backbone.family, backbone.head
    depths = FAMILIES[family].depths
    two = dict.fromkeys(depths, 2 // len(depths))  # layers
    few = config | {"vocab_size": WORDS, "pad_token_id": 0}
    whole, small, rows = shape(config, family), shape(few, family, head, **two), study.scale.training.micro_batch_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        timed = drawn(few, family, head, two)
    timed = type(timed)(timed.model.to(device=where, dtype=getattr(torch, study.scale.compute.dtype)), timed.tokenizer)
    on_gpu = where.startswith("cuda")
    unit, threads = ("gpu", 1) if on_gpu else ("core", torch.get_num_threads())
    samples, best = [], []
    width, longest = 8, study.scale.max_tokens + study.scale.prompt.length
    while True:
        step = _step(timed, rows, width, where)
        step()  # pays for memory and kernels
        spent = []
        for _ in range(REPEATS):
            spent.append(_timed(step, on_gpu))
            if sum(spent) > MOST:
                break
        work = Work(flops(small, rows, width, backward="frozen"), PASSES * small.layers)
        samples += [Sample(work, seconds * threads) for seconds in spent]
        best.append(Sample(work, min(spent) * threads))  # what else the machine does only ever slows it down
        if min(spent) > ENOUGH or width >= longest:
            break
        width = min(2 * width, longest)
    title = torch.cuda.get_device_name() if on_gpu else "CPU"
    return fitted(unit, title, name, whole.per_position, best, samples)


def _step(backbone: Backbone, rows: int, width: int, where: str) -> Callable[[], object]:
    embeds = torch.zeros(rows, width, backbone.hidden_size, device=where, dtype=backbone.model.dtype).requires_grad_()
    mask = torch.ones(rows, width, dtype=torch.long, device=where)

    def step() -> None:
        backbone.state(Sequence(embeds, mask, mask), "linear").sum().backward()
        embeds.grad = None

    return step


def _timed(step: Callable[[], object], on_gpu: bool) -> float:
    start = time.perf_counter()
    step()
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - start
