"""Work in processes of their own, which can be killed at a chosen moment."""

import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from crashing.points import Counter

RUN_TIMEOUT_SECONDS = 120.0
"""After which a run that should have ended counts as stuck."""
STARTUP_TIMEOUT_SECONDS = 120.0
"""For the slow imports."""
STUCK = 99
"""Exit status of a run that did not end."""


@dataclass
class Ended:
    """How a process ended."""

    code: int
    """Exit status, or minus the number of the signal."""
    text: str
    """What it printed."""
    points: int
    """Operations on files that it came to, if they were counted."""
    seconds: float


@dataclass(frozen=True)
class Order:
    """Work of a process, and the time at which it is killed."""

    work: Callable[..., None]
    """Function that other processes can import."""
    arguments: tuple[Any, ...]
    text: Path
    """File for what it prints."""
    hook: Callable[[Counter], None] | None = None
    """Called in the process before the work."""
    kill_after: float | None = None
    """Seconds after which it is killed."""


class Server:
    """A process that imports the modules of the work once and forks all others.

    A fork of it starts at once, without threads and without computed values.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._mine, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,))
        self._process.start()
        theirs.close()

    def execute(self, order: Order) -> Ended:
        """Do some work in a process of its own, and wait until it ends."""
        self._mine.send(order)
        if not self._mine.poll(RUN_TIMEOUT_SECONDS + STARTUP_TIMEOUT_SECONDS):
            raise TimeoutError("the process that forks others sent no answer")
        ended: Ended = self._mine.recv()
        return ended

    def close(self) -> None:
        """End it."""
        self._mine.close()
        self._process.join()


def _serve(orders: Connection) -> None:
    context = multiprocessing.get_context("fork")
    while True:
        try:
            order: Order = orders.recv()
        except EOFError:
            return
        counter = context.RawValue("i", 0)
        order.text.unlink(missing_ok=True)
        process = context.Process(target=_run, args=(order, counter))
        begin = time.monotonic()
        process.start()
        alone = order.kill_after is None
        process.join(RUN_TIMEOUT_SECONDS if alone else order.kill_after)
        stuck = process.is_alive() and alone
        process.kill()
        process.join()
        orders.send(
            Ended(
                code=STUCK if stuck else process.exitcode or 0,
                text=order.text.read_text() if order.text.exists() else "",
                points=counter.value,
                seconds=time.monotonic() - begin,
            )
        )


def _run(order: Order, counter: Counter) -> None:
    descriptor = os.open(order.text, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.environ["COLUMNS"] = "300"
    torch.set_num_threads(1)
    if order.hook is not None:
        order.hook(counter)
    try:
        order.work(*order.arguments)
    finally:
        sys.setprofile(None)
