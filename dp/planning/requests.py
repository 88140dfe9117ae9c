"""What a job asks a cluster for: memory of its node and minutes, by the formulas of the plan (docs/cluster.md)."""

import math
from typing import NamedTuple

from dp.jobs.job import Job
from dp.planning import speeds
from dp.planning.costs import Counter
from dp.planning.shapes import downloads_of
from dp.planning.speeds import Speed
from dp.planning.work import tuned
from dp.study import grid
from dp.study.study import Study
from dp.tasks.model import load
from dp.training.loop_config import LoopConfig

PROCESS = 2.0e9
"""Bytes of a job besides what grows with its model: Python, torch and Snakemake's processes; 1.35 GB were measured."""
CUDA = 4.0e9
"""Bytes that a process needs on the host for a GPU's libraries; assumed, not measured."""
COPIES = {"fetch-backbone": 3.5, "features": 1.5, "evaluate": 1.5, "train": 1.5}
"""Models in float32 that a command holds at once; fetching one from a GGUF file took 2.9, the others 1.0."""
READ = (60e3, 0.03)
"""Bytes and seconds for each job whose record a report reads; assumed, at twice what a record holds."""
KEPT = 4
"""Floats that a layer keeps of a position for its backward pass, in weights that the position passes over H."""
AT_ONCE = 2
"""Layers whose floats a pass holds that keeps none."""
SCORES = 3
"""Copies of the attention's scores that a pass holds."""
HEAD = 64
"""Width of an attention's head, which a `Shape` does not tell."""
TRAINED = 16
"""Bytes of each trained parameter: its gradient, two moments, and its values at the selected step."""
CORE = Speed("core", "CPU, assumed", "none", 1.0, 10e9, 2e-3, 0, 1.0, 1.0)
"""What goes for a core of which no training is recorded: a slow one."""
RECORDED, ASSUMED = 2, 6
"""Times what the plan foretells that are asked for: where trainings on such a device are recorded, and where not."""
LEAST, MOST = 5, 24 * 60
"""Minutes. A training that is cut after a day goes on where it stood at its next attempt."""
DOWNLOAD = 5e6
"""Bytes a second."""


class Request(NamedTuple):
    """memory: MB of the node. minutes: of wall time."""

    memory: int
    minutes: int


class Requests:
    """What the jobs of a study ask for. Raises UserError where a backbone's size is not known (see `shape_of`)."""

    def __init__(self, study: Study, gpu: bool) -> None:
        """gpu: whether features, trainings and evaluations run on one."""
        self.study, self.gpu, self.counter = study, gpu, Counter(study)
        assumed = speeds.of_an_h100(study.scale.compute.dtype) if gpu else CORE
        recorded = [one for one in speeds.recorded(study) if one.unit == assumed.unit]
        self.margin = RECORDED if recorded else ASSUMED
        self.devices = speeds.devices(recorded or [assumed]).values()

    def of(self, job: Job, attempt: int = 1) -> Request:
        """attempt: from 1. The second and third ask for as much memory again, each for as much time, up to a day."""
        megabytes = math.ceil(self._bytes(job) / 1e8) * 100
        minutes = LEAST + math.ceil(self._seconds(job) / 60)
        return Request(megabytes * min(attempt, 3), min(MOST, minutes * attempt))

    def _bytes(self, job: Job) -> float:
        """Of the node's memory; what a GPU holds is not in it."""
        if job.command not in COPIES:
            return PROCESS + READ[0] * len(job.reads)
        name = job.folder.name if job.command == "fetch-backbone" else job.asked["backbone"]
        shape = self.counter.shapes[name]
        weights = PROCESS + COPIES[job.command] * 4 * shape.parameters
        if job.command == "fetch-backbone":
            return weights
        if self.gpu:
            return weights + CUDA
        scale, layers, trained = self.study.scale, AT_ONCE, 0
        rows, width = scale.evaluation_batch_size, scale.max_tokens
        if job.command == "train":
            assert job.cell is not None
            config = LoopConfig.model_validate(job.asked)
            made = tuned(shape, config, [len(load(task).label_names) for task in grid.tasks_of(self.study, job.cell)])
            rows = config.training.micro_batch_size * made.copies * len(config.together)
            width, layers = width + made.vectors + made.beside, shape.layers
            trained = TRAINED * made.trained * len(config.together)
        floats = KEPT * shape.per_position / shape.hidden + SCORES * width * shape.attention / HEAD
        return weights + trained + 4.0 * rows * width * floats * min(1.0, layers / shape.layers)

    def _seconds(self, job: Job) -> float:
        if job.command == "fetch-backbone":
            name = job.folder.name
            of = downloads_of(self.study.params.backbones[name], self.counter.shapes[name])
            return sum(size for _, size in of) / DOWNLOAD
        if job.command not in COPIES:
            return READ[1] * len(job.reads)
        name, cost = job.asked["backbone"], self.counter.of_job(job)
        threads = 1 if self.gpu else self.study.scale.compute.threads
        # Of several recorded devices any may be the next node's: the slowest counts.
        hours = max(speeds.nearest(found, name, self.counter.shapes[name]).hours(cost) for found in self.devices)
        return self.margin * hours * 3600 / threads
