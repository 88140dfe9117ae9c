"""How trainings get on with their backbone: one alone, or several of one backbone in passes that they share.

A training (`dp.training.loop.updates`) is a generator. It yields a `Reading`, which the backbone is to read, and is
sent the state [B, H]; and a `Backward`, whose loss is to be traced back. All else is its own, so that several give up
nothing but rounding by sharing: where one ends or fails, the others go on, and the passes get smaller.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dp.backbones.backbone import Backbone
from dp.classifier.reading import Reading, joined, read
from dp.errors import Interrupted, UserError


class Backward(NamedTuple):
    loss: Tensor  # []


Training = Generator[Reading | Backward, Tensor | None, dict[str, Any]]
Outcome = dict[str, Any] | UserError | Interrupted
"""Of a training: the facts for its record, or why there are none."""


class Clock:
    """Seconds that a training takes: its own, and an equal share of what it shares."""

    def __init__(self) -> None:
        self.spent, self.since = 0.0, time.perf_counter()

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


def alone(training: Training, backbone: Backbone) -> dict[str, Any]:
    """The facts of a training that shares nothing. Raises what the training raises."""
    answer: Tensor | None = None
    while True:
        try:
            asked = training.send(answer)
        except StopIteration as end:
            facts: dict[str, Any] = end.value
            return facts
        if isinstance(asked, Reading):
            answer = read(backbone, asked)
        else:
            asked.loss.backward()  # type: ignore[no-untyped-call]
            answer = None


class Begin(Protocol):
    def __call__(self, clock: Clock, stop: Sequence[object]) -> Training:
        """A training that reads this clock, and ends once `stop` is not empty."""


def together(
    trainings: Mapping[Path, Begin],
    backbone: Backbone,
    stop: Sequence[object],
    ended: Mapping[Path, Callable[[dict[str, Any]], None]],
) -> dict[Path, Outcome]:
    """What became of the trainings, by their folders. They are at the same update, and of one variant.

    stop: not empty once all are to end, which they do behind the same update. ended: called with the facts of a
    training as soon as it is done. A training that a UserError or a stop
    ends has that as its outcome. Any other exception ends all.
    """
    clocks, told = {key: Clock() for key in trainings}, list[object]()
    running = {key: begin(clocks[key], told) for key, begin in trainings.items()}
    answers: dict[Path, Tensor | None] = dict.fromkeys(running)
    outcomes: dict[Path, Outcome] = {}
    shared = 0.0
    while running:
        asked: dict[Path, Reading | Backward] = {}
        told[:] = stop
        for key, training in list(running.items()):
            clocks[key].go_on(shared)
            try:
                asked[key] = training.send(answers[key])
            except StopIteration as end:
                outcomes[key] = end.value
                ended[key](end.value)
            except (UserError, Interrupted) as error:
                outcomes[key] = error
            clocks[key].pause()
            if key in outcomes:
                del running[key]
        started = time.perf_counter()
        answers = _answered(asked, backbone)
        shared = (time.perf_counter() - started) / max(1, len(running))
    return {key: outcomes[key] for key in trainings}


def _answered(asked: Mapping[Path, Reading | Backward], backbone: Backbone) -> dict[Path, Tensor | None]:
    """One pass for all that is to be read, one for all that is to be traced back."""
    answers: dict[Path, Tensor | None] = dict.fromkeys(asked)
    if losses := [one.loss for one in asked.values() if isinstance(one, Backward)]:
        torch.autograd.backward(losses)
    readings = {key: one for key, one in asked.items() if isinstance(one, Reading)}
    if readings:
        state = read(backbone, joined(list(readings.values())))
        sizes = [len(one.sequence.embeds) for one in readings.values()]
        answers |= dict(zip(readings, state.split(sizes), strict=True))
    return answers
