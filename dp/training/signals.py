"""Ctrl-C, SIGTERM and a closed terminal as a question that the training loop asks between steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def stop_requests() -> Iterator[list[signal.Signals]]:
    """Within the block SIGINT, SIGTERM and SIGHUP are only noted; a second signal ends the process at once.

    SIGHUP stays ignored where it was (nohup).
    """
    stop: list[signal.Signals] = []

    def first(number: int, frame: FrameType | None) -> None:
        stop.append(signal.Signals(number))
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
