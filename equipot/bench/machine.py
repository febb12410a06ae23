"""How fast this machine copies and multiplies: what speed is measured against."""

import torch

from equipot.bench.timing import summarize, take_turns

MATRIX = 1024
"""Rows and columns of the matrices that are multiplied."""
ROUNDS = 7


def operations_per_second(dtype: torch.dtype) -> float:
    """Rate of additions and multiplications in a product of matrices.

    Args:
        dtype: Arithmetic.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (MATRIX, MATRIX)
    a, b = (torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    samples = take_turns({"": lambda: torch.mm(a, b, out=out)}, rounds=ROUNDS)
    return 2 * MATRIX**3 / summarize(samples[""]).median


def bytes_per_second(size: int) -> float:
    """Rate of bytes read and written by a copy.

    Args:
        size: Bytes that the copy reads and writes; caches help with a few.
    """
    source = torch.zeros(max(1, size // 2), dtype=torch.uint8)
    target = torch.ones_like(source)
    samples = take_turns({"": lambda: target.copy_(source)}, rounds=ROUNDS)
    return 2 * source.numel() / summarize(samples[""]).median
