"""Ctrl-C and termination as a question to ask between steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Whether the process was asked to stop."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self.signal is not None


@contextmanager
def watch_signals() -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM instead of dying of them; a second one has its effect.

    Batch systems send SIGTERM some seconds before they kill, which is enough to finish
    a step and write the state.

    Yields:
        What to ask between steps.
    """
    interruption = Interruption()
    previous = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: FrameType | None) -> None:
        interruption.signal = signal.Signals(number)
        signal.signal(number, previous[signal.Signals(number)])

    for number in previous:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
