"""Deferred handling of SIGINT and SIGTERM, for a clean stop between steps."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interruption:
    """Flag that is set by SIGINT and SIGTERM."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self.signal is not None


@contextmanager
def watch_signals() -> Iterator[Interruption]:
    """Record SIGINT and SIGTERM; a second signal has its default effect.

    Batch systems send SIGTERM some seconds before SIGKILL, which is enough to finish a
    step and write the state.

    Yields:
        Flag to check between steps.
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
