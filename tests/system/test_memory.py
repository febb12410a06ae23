"""Freed memory is kept for later allocations."""

import resource

import pytest
import torch

from equipot.system.memory import glibc, kept_memory

LARGE = 64 * 2**20
"""Bytes of a tensor that glibc by default maps, and unmaps when it is freed."""


def page_faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(LARGE, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(glibc() is None, reason="the C library is not glibc")
def test_large_tensors_reuse_memory():
    with kept_memory(True):
        page_faults()
        assert page_faults() < 100
