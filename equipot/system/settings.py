"""Process-wide settings of a run: threads and determinism, restored afterwards."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def compute_settings(num_threads: int | None, deterministic: bool) -> Iterator[None]:
    """Set threads and determinism of PyTorch for a while.

    Args:
        num_threads: Threads of one operation; None leaves them as they are.
        deterministic: Demand algorithms that give the same bits every time; one that
            has none raises.

    Yields:
        Nothing; on leaving, everything is as it was.
    """
    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    if deterministic:
        # cuBLAS is deterministic with this workspace only; it is read at its first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
