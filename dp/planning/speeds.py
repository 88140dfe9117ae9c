"""How fast a device does the work: from records, from a measurement, or from the paper's one figure."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from dp import paths
from dp.errors import UserError
from dp.jobs import record
from dp.planning.costs import Cost
from dp.planning.shapes import Shape, known, shape, shape_of
from dp.planning.work import Work, flops, tuned, updates
from dp.results.groups import grouped
from dp.study.study import Study
from dp.training.loop_config import LoopConfig

THEIRS = "the paper's GPU"
H100 = "an H100, assumed"
PEAKS = {"bfloat16": 989e12, "float32": 67e12}
"""FLOP/s of its data sheet (SXM5): dense products of tensor cores; float32 without them, as this project computes."""
UTILISATION = 0.4
"""Share of the peak that products reach where inputs are long; assumed, not measured."""
LAUNCHES = 150e-6
"""Seconds of a layer's forward pass however few its rows: some thirty kernels, one after the other; assumed."""
JOB = 0.5
"""Seconds of a job besides its work: imports, digests, Snakemake; 0.3 in recorded runs on a CPU, with its worker."""
LOAD = 1e9
"""Bytes of weights that are read and placed in a second."""
MOST = 200
"""Records of one backbone and device that are looked at, spread over all there are."""


class Sample(NamedTuple):
    """One timed stretch of work on the cores or the GPU of one job."""

    work: Work
    seconds: float  # of a GPU, or of a CPU times its threads


class Speed(NamedTuple):
    """Seconds of work are flops / `rate` + layers x `layer`; on a CPU all of them of one core."""

    unit: str  # gpu | core
    device: str
    backbone: str  # that it was measured on
    size: float  # its weights by position
    rate: float  # FLOP/s
    layer: float  # seconds of one layer's forward pass, however few its rows
    samples: int
    low: float  # the middle half of the samples took this many times what they should by this speed
    high: float

    def seconds(self, work: Work) -> float:
        return work.flops / self.rate + work.layers * self.layer

    def hours(self, cost: Cost) -> float:
        """GPU hours or core hours."""
        return (self.seconds(cost.work) + cost.work.loaded / LOAD + cost.device_jobs * JOB) / 3600


def fitted(
    unit: str,
    device: str,
    backbone: str,
    size: float,
    samples: Sequence[Sample],
    spread: Sequence[Sample] | None = None,
) -> Speed:
    """spread: the samples whose spread it tells, where they are others than the line goes by.

    A line through the medians of the lower and the upper half of the samples (Tukey's resistant line), in seconds
    and FLOPs of one layer's pass; where the two sizes lie within 1.5 of each other or the line would fall, or cut
    below zero, through the origin.
    """
    points = sorted((one.work.flops / one.work.layers, one.seconds / one.work.layers) for one in samples)
    middle = (len(points) + 1) // 2
    (x1, y1), (x2, y2) = _center(points[:middle]), _center(points[-middle:])
    rate, layer = 0.0, 0.0
    if x2 > 1.5 * x1 and y2 > y1:
        rate = (x2 - x1) / (y2 - y1)
        layer = y1 - x1 / rate
    if layer <= 0 or rate <= 0:
        rate, layer = 1 / median(y / x for x, y in points), 0.0
    told = spread or samples
    off = sorted(one.seconds / (one.work.flops / rate + one.work.layers * layer) for one in told)
    return Speed(unit, device, backbone, size, rate, layer, len(told), _at(off, 0.25), _at(off, 0.75))


def _center(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    return median(x for x, _ in points), median(y for _, y in points)


def _at(values: Sequence[float], share: float) -> float:
    return values[round(share * (len(values) - 1))]


def recorded(study: Study) -> list[Speed]:
    """Of every backbone and device that the training records of any scale below results/ tell of, in the dtype that
    this scale computes in.
    """
    names = sorted(path.name for path in paths.TRAIN.glob("*/*") if path.name in study.params.backbones)
    found = []
    for name in dict.fromkeys(names):
        try:
            own = shape_of(name, study.params.backbones[name])
        except UserError:
            continue  # its config.json is gone, so nobody can tell what work its records timed
        groups: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        for path in _spread(sorted(paths.TRAIN.glob(f"*/{name}/*/*/*/*[0-9]/record.json"))):
            if told := _sample(path, own, study.scale.compute.dtype):
                groups[told[0]].append(told[1])
        for (unit, device), samples in groups.items():
            found.append(fitted(unit, device, name, own.per_position, samples))
    return found


def _spread(records: Sequence[Path]) -> Sequence[Path]:
    return records if len(records) <= MOST else [records[len(records) * n // MOST] for n in range(MOST)]


def _sample(path: Path, own: Shape, dtype: str) -> tuple[tuple[str, str], Sample] | None:
    """(unit, device) and what a training's record tells of it; None for another dtype, and for a linear probe, which
    hardly computes. Raises UserError where it is no such record.
    """
    try:
        told = record.parsed(path.read_bytes())
        asked, made, machine = told["asked"], told["made"], told["with"]
        probe = asked["definition"].get("baseline") == "linear_probe"
        if asked["compute"]["dtype"] != dtype or not made["step_seconds"] or probe:
            return None
        device = ("core", "CPU") if machine["device"] == "cpu" else ("gpu", machine["device"])
        threads = min(machine["threads"] or 1, machine["processor_count"] or 1) if device[0] == "core" else 1
        # Compiling is no work; a run that did little else tells no speed.
        seconds = made["step_seconds"] - made.get("compiled", {}).get("first_passes_seconds", 0.0)
        if seconds < made["step_seconds"] / 2:
            return None
        sample = Sample(work_of(own, told), seconds * threads)
        if not all(0 < one < math.inf for one in (sample.work.flops, sample.work.layers, sample.seconds)):
            raise ValueError("its work is none")
        return device, sample
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        why = str(error) if type(error) is ValueError else type(error).__name__
        raise UserError(
            f"{path}: is no record of a training and tells no speed ({why}); restore it (`dvc checkout --force`) or "
            "delete its folder."
        ) from None


def work_of(own: Shape, told: dict[str, Any]) -> Work:
    """The work of a recorded training's steps, by the tokens that it says it had."""
    config, made = LoopConfig.model_validate(told["asked"]), told["made"]
    what = tuned(own, config, made["classes"])._replace(copies=made.get("forward_passes_per_row", 1))
    config = config.model_copy(update={"training": config.training.model_copy(update={"steps": made["steps"]})})
    rows = made["steps"] * config.training.batch_size * what.copies
    tokens = made["tokens_per_second"] * made["step_seconds"]
    text = tokens / rows - what.vectors - what.beside
    as_made: dict[str, Any] = {"together": ["alone"]}
    if "compiled" not in made or told["with"]["device"] == "cpu":
        as_made["torch_compile"] = None  # no CUDA graphs
    alone = updates(own, config.model_copy(update=as_made), what, text / (1 - made["padding_share"]))
    return replace(alone, layers=alone.layers / made.get("runs_of_a_pass", 1))


def of_the_paper() -> Speed:
    """By the paper's one figure of time: T5-large, adap_pos, RTE, 80,000 passes of 8 rows padded to 480 tokens with a
    prompt of 20, forward and backward, and 40 evaluations of 277 rows, in 21 h 31 min on a GPU that is not named
    (the authors' raw log). Their code builds all 21 candidate inputs of a row, so the same GPU is faster with this one.
    """
    own = shape(known()["google/t5-large-lm-adapt"]["config"], "seq2seq")
    work = Work(80_000 * flops(own, 8, 500, backward="frozen") + 40 * flops(own, 277, 500))
    seconds = 21 * 3600 + 31 * 60
    return Speed("gpu", THEIRS, "t5-large-lm", own.per_position, work.flops / seconds, 0.0, 1, 1.0, 1.0)


def of_an_h100(dtype: str) -> Speed:
    """What a plan goes by where no GPU was measured or recorded: the card's peak in that dtype, and two assumptions."""
    return Speed("gpu", H100, "none", 1.0, PEAKS[dtype] * UTILISATION, LAUNCHES, 0, 1.0, 1.0)


def nearest(speeds: Iterable[Speed], backbone: str, own: Shape) -> Speed:
    """The speed of this very backbone, or else that of the one nearest in size."""
    return min(
        speeds,
        key=lambda one: (one.backbone != backbone, abs(math.log(one.size / own.per_position)), one.backbone),
    )


def devices(speeds: Iterable[Speed]) -> dict[tuple[str, str], list[Speed]]:
    """(unit, device) -> its speeds, GPUs first."""
    return grouped(sorted(speeds, key=lambda one: (one.unit != "gpu", one.device)), lambda one: (one.unit, one.device))
