"""Ctrl-C and SIGTERM as a question that the training loop asks between steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """True once a signal asked the process to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Within the block SIGINT and SIGTERM only set the flag; a second signal ends the process at once."""
    stop = Stop()

    def first(number: int, frame: FrameType | None) -> None:
        stop(number, frame)
        for name in previous:
            signal.signal(name, signal.SIG_DFL)

    previous = {name: signal.signal(name, first) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
