"""Ctrl-C, SIGTERM and a closed terminal as a question that the training loop asks between steps."""

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
    """Within the block SIGINT, SIGTERM and SIGHUP only set the flag; a second signal ends the process at once.

    SIGHUP stays ignored where it was (nohup).
    """
    stop = Stop()

    def first(number: int, frame: FrameType | None) -> None:
        stop(number, frame)
        for name in previous:
            signal.signal(name, signal.SIG_DFL)

    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        heard.append(signal.SIGHUP)
    previous = {name: signal.signal(name, first) for name in heard}
    try:
        yield stop
    finally:
        for name, handler in previous.items():
            signal.signal(name, handler)
