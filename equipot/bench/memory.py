"""How much memory a call takes at its peak."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.profiler import ProfilerActivity, profile


def peak_memory(call: Callable[[], object]) -> int:
    """Most bytes that PyTorch's CPU allocator lends at a time during a call.

    What was allocated before is not counted; what the call returns is. Of memory that a
    compiled kernel takes from elsewhere nothing is known here.
    """
    with (
        _silent_profiler(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded,
    ):
        call()
    recorder = recorded.profiler
    if recorder is None or recorder.kineto_results is None:
        raise RuntimeError("PyTorch's profiler has recorded nothing")
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
