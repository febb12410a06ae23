"""Stop a process at a given file operation: kill it, or simulate a full disk.

Everything that a run does to its folder goes through a few functions of the system that
Python calls: write, flush, fsync, rename, link, unlink, truncate. `at_points` counts
these calls, so that a run can be stopped before each of them, one after the other.
"""

import errno
import io
import os
import resource
import signal
import sys
from collections.abc import Callable
from ctypes import c_int
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np

SYSTEM = ("fsync", "replace", "rename", "link", "unlink", "ftruncate", "mkdir")
FILE = ("write", "writelines", "flush", "truncate", "tofile")
FILES = (io.FileIO, io.BufferedWriter, io.BufferedRandom, io.TextIOWrapper, np.ndarray)
NAMES = frozenset((*SYSTEM, *FILE))
GROWING = ("write", "writelines", "flush", "tofile", "fsync", "link", "mkdir")
"""System calls that can fail with a full disk."""

Counter = c_int
"""Number of file operations so far, shared with the parent process."""


def at_points(act: Callable[[str, int], None], counter: Counter) -> None:
    """Call a function before every operation on a file.

    Args:
        act: Gets the name of the operation and its number, counted from 1; an error
            that it raises is one of the operation.
        counter: Gets the number.
    """
    screen = (id(sys.stdout), id(sys.stderr))

    def profile(frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call" or called.__name__ not in NAMES:
            return
        owner = called.__self__
        if called.__name__ in SYSTEM:
            if getattr(owner, "__name__", "") != "posix":
                return
        elif not isinstance(owner, FILES) or id(owner) in screen:
            return
        counter.value += 1
        act(called.__name__, counter.value)

    sys.setprofile(profile)


@dataclass(frozen=True)
class Count:
    """Count file operations."""

    def __call__(self, counter: Counter) -> None:
        """Start counting."""
        at_points(lambda name, number: None, counter)


@dataclass(frozen=True)
class KillAt:
    """Kill the process before its n-th file operation, like a power failure.

    SIGKILL can be neither caught nor delayed.
    """

    number: int

    def __call__(self, counter: Counter) -> None:
        """Begin to wait for the operation."""

        def act(name: str, number: int) -> None:
            if number == self.number:
                os.kill(os.getpid(), signal.SIGKILL)

        at_points(act, counter)


@dataclass(frozen=True)
class FullAt:
    """Simulate a full disk at the n-th operation that needs space."""

    number: int

    def __call__(self, counter: Counter) -> None:
        """Begin to wait for the operation."""
        needed = 0

        def act(name: str, number: int) -> None:
            nonlocal needed
            needed += name in GROWING
            if needed == self.number and name in GROWING:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        at_points(act, counter)


@dataclass(frozen=True)
class FileLimit:
    """Limit of the file size in bytes, like a disk quota for one file."""

    size: int

    def __call__(self, counter: Counter) -> None:
        """Set the limit."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))
