"""How trainings get on with their backbone: one alone, or several of one backbone in passes that they share.

A training (`dp.training.loop.updates`) is a generator. It yields a `BackboneInput` that the backbone is to read, and is
sent the state [B, H]; and a `Backward`, whose loss is to be traced back. All else is its own but for the order in which
short and long batches come (`LoopConfig.batch_order`), so that several give up nothing but rounding by sharing: where
one ends or fails, the others go on, and the passes get smaller.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dp.backbones.backbone import Backbone
from dp.classifier.backbone_input import BackboneInput, joined, read
from dp.errors import Interrupted, UserError
from dp.training.compiled import compiled, told_of
from dp.training.loop_config import TorchCompile
from dp.training.parts import Parts


class Backward(NamedTuple):
    loss: Tensor  # []


Training = Generator[BackboneInput | Backward, Tensor | None, dict[str, Any]]
Outcome = dict[str, Any] | UserError | Interrupted
"""Of a training: the facts for its record, or why there are none."""


class Clock:
    """Seconds that a training takes: its own, and an equal share of what it shares."""

    def __init__(self) -> None:
        self.spent, self.since = 0.0, time.perf_counter()
        self.passes, self.runs = 0, 0  # that it had a part in, and of how many runs they were, in all

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        seconds, self.spent, self.since = self.spent + now - self.since, 0.0, now
        return seconds

    def pause(self) -> None:
        self.spent += time.perf_counter() - self.since

    def go_on(self, shared: float) -> None:
        """shared: seconds to add, of what was done for it meanwhile."""
        self.spent, self.since = self.spent + shared, time.perf_counter()

    @property
    def company(self) -> float:
        """Runs of a pass, in the mean."""
        return self.runs / self.passes if self.passes else 1.0


def alone(training: Training, passes: "Passes") -> dict[str, Any]:
    """The facts of a training that shares nothing. Raises what the training raises."""
    answer: Tensor | None = None
    while True:
        try:
            asked = training.send(answer)
        except StopIteration as end:
            facts: dict[str, Any] = end.value
            return facts
        answer = passes.answer(asked)


class Passes:
    """Answers trainings of one backbone.

    parts: that each pass is cut into, where the memory does not hold it whole. torch_compile: of passes that it holds.
    """

    def __init__(self, backbone: Backbone, parts: int = 1, torch_compile: TorchCompile | None = None) -> None:
        self.backbone, self.parts = backbone, parts
        self.last: Parts | None = None
        self.compiled = compiled(backbone, torch_compile) if torch_compile and parts == 1 else None
        self.shapes: set[tuple[torch.Size, int]] = set()
        self.first_seconds, self._since = 0.0, 0.0  # of each shape's first pass, which compiles it: a run's share
        self._runs = 1  # of the last pass

    def facts(self) -> dict[str, Any]:
        """For a run's record; nothing of passes that were made whole, as they stand."""
        parts = {"parts_of_a_pass": self.parts} if self.parts > 1 else {}
        if not self.compiled:
            return parts
        return {"compiled": {"shapes": len(self.shapes), "first_passes_seconds": round(self.first_seconds, 1)}}

    def answer(self, asked: BackboneInput | Backward) -> Tensor | None:
        """Of one training."""
        if isinstance(asked, BackboneInput):
            return self._read(asked, 1)
        self._trace_back([asked.loss])
        return None

    def answer_all(self, asked: Mapping[Path, BackboneInput | Backward]) -> dict[Path, Tensor | None]:
        """Of several: one pass for all that is to be read, one for all that is to be traced back."""
        answers: dict[Path, Tensor | None] = dict.fromkeys(asked)
        if losses := [one.loss for one in asked.values() if isinstance(one, Backward)]:
            self._trace_back(losses)
        readings = {key: one for key, one in asked.items() if isinstance(one, BackboneInput)}
        if readings:
            state = self._read(joined(list(readings.values())), len(readings))
            sizes = [len(one.sequence.embeds) for one in readings.values()]
            answers |= dict(zip(readings, state.split(sizes), strict=True))
        return answers

    def _read(self, reading: BackboneInput, runs: int) -> Tensor:
        if self.compiled:
            self._runs = runs
            shape = reading.sequence.embeds.shape, 0 if reading.answers is None else reading.answers.shape[1]
            if shape not in self.shapes:
                self.shapes.add(shape)
                self._since = time.perf_counter()
            return self.compiled(reading)
        if self.parts == 1:
            return read(self.backbone, reading)
        self.last = Parts(self.backbone, reading, self.parts)
        return self.last.state

    def _trace_back(self, losses: list[Tensor]) -> None:
        with told_of(self.backbone) if self.compiled else nullcontext():  # the backward pass may be compiled only now
            torch.autograd.backward(losses)
        if self.last:
            self.last.trace_back()
            self.last = None
        if self._since:
            self.first_seconds += (time.perf_counter() - self._since) / self._runs
            self._since = 0.0


class Begin(Protocol):
    def __call__(self, clock: Clock, stop: Sequence[object]) -> Training:
        """A training that reads this clock, and ends once `stop` is not empty."""


def together(
    trainings: Mapping[Path, Begin],
    passes: Passes,
    stop: Sequence[object],
    ended: Callable[[Path, dict[str, Any] | UserError], None],
) -> dict[Path, Outcome]:
    """What became of the trainings, by their folders. They are at the same update, and of one variant.

    stop: not empty once all are to end, which they do behind the same update. ended: called with the outcome of a
    training as soon as it has one. A training that a UserError or a stop ends has that as its outcome. Any other
    exception ends all.
    """
    clocks, told = {key: Clock() for key in trainings}, list[object]()
    running = {key: begin(clocks[key], told) for key, begin in trainings.items()}
    answers: dict[Path, Tensor | None] = dict.fromkeys(running)
    outcomes: dict[Path, Outcome] = {}
    shared = 0.0
    while running:
        asked: dict[Path, BackboneInput | Backward] = {}
        told[:] = stop
        for key, training in list(running.items()):
            clocks[key].go_on(shared)
            try:
                asked[key] = training.send(answers[key])
            except StopIteration as end:
                outcomes[key] = end.value
                ended(key, end.value)
            except Interrupted as error:
                outcomes[key] = error
            except UserError as error:
                outcomes[key] = error
                ended(key, error)
            clocks[key].pause()
            if key in outcomes:
                del running[key]
        for key in asked:
            clocks[key].passes += 1
            clocks[key].runs += len(asked)
        started = time.perf_counter()
        answers = passes.answer_all(asked)
        shared = (time.perf_counter() - started) / max(1, len(running))
    return {key: outcomes[key] for key in trainings}
