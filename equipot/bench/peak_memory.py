"""Peak memory of a call."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.profiler import ProfilerActivity, profile


def peak_memory(call: Callable[[], object]) -> int:
    """Peak of the bytes that PyTorch's CPU allocator holds during a call.

    Memory that was allocated before is not counted, results of the call are. Memory
    that a compiled kernel allocates otherwise is not seen.
    """
    with (
        _silent_profiler(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded,
    ):
        call()
    recorder = recorded.profiler
    if recorder is None or recorder.kineto_results is None:
        raise RuntimeError("PyTorch's profiler recorded nothing")
    changes = sorted(
        (event.start_ns(), event.nbytes())
        for event in recorder.kineto_results.events()
        if event.name() == "[memory]"
    )
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak


@contextmanager
def _silent_profiler() -> Iterator[None]:
    """Keep the profiler from writing to standard error when it starts and stops."""
    name = "KINETO_LOG_LEVEL"
    before = os.environ.get(name)
    os.environ[name] = "9"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
