"""Whether the C library keeps freed memory for later allocations."""

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_MAX: Final = -4
"""Parameters of ``mallopt``, from glibc's ``malloc.h``."""
DEFAULTS: Final = {M_MMAP_MAX: 65536, M_TRIM_THRESHOLD: 128 * 1024}
KEEPING: Final = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: -1}
"""No allocation has a mapping of its own, and the heap does not shrink."""


@contextmanager
def kept_memory(keep: bool) -> Iterator[None]:
    """Keep freed memory within a context, instead of returning it to the kernel.

    Large temporaries, allocated and freed in every step, otherwise cost a page fault
    for each page every time. The setting is one of the whole process and of glibc:
    elsewhere, and with other allocators, nothing changes. Memory of the process does
    not decrease before the end of the context; the largest amount stays about the same.

    Args:
        keep: Whether to keep it; without, nothing is changed.

    Yields:
        None; on exit, glibc's defaults are set and free memory is returned.
    """
    library = glibc() if keep else None
    if library is None:
        yield
        return
    _set(library, KEEPING)
    try:
        yield
    finally:
        _set(library, DEFAULTS)
        library.malloc_trim(0)


def glibc() -> ctypes.CDLL | None:
    """Functions of glibc; None on other systems."""
    if platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL(None)


def _set(library: ctypes.CDLL, settings: dict[int, int]) -> None:
    for parameter, value in settings.items():
        if library.mallopt(parameter, value) != 1:
            raise OSError(f"mallopt refused the value {value} of parameter {parameter}")
