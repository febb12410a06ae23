"""Context manager for threads and determinism of PyTorch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def compute_settings(num_threads: int | None, deterministic: bool) -> Iterator[None]:
    """Set the number of threads and determinism of PyTorch within a context.

    Args:
        num_threads: Number of intra-op threads; None leaves it unchanged.
        deterministic: Whether to use deterministic algorithms only; operations without
            one raise.

    Yields:
        None; on exit, the previous settings are restored.
    """
    threads = torch.get_num_threads()
    before = torch.are_deterministic_algorithms_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    if deterministic:
        # cuBLAS is deterministic only with this setting, which it reads on first use.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
