"""Blocks of edges: what a product makes for a block fits into the cache."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

BLOCK_BYTES = 4 * 2**20
"""Memory that the intermediates of a block may take on a CPU.

Of the time of a forward pass at lmax 3 over 2,000 edges at once, a third to a half goes
into fresh pages of memory, which blocks reuse. Much smaller blocks cost more in calls.
"""


def in_blocks(
    function: Callable[..., Sequence[Tensor]],
    operands: Sequence[Tensor],
    bytes_per_edge: int,
) -> list[Tensor]:
    """Apply a function of edges to one block of them after the other.

    Args:
        function: Takes and returns tensors whose first dimension runs over edges, each
            of which it treats alike.
        operands: Arguments of the function for all edges.
        bytes_per_edge: Memory of its intermediates.

    Returns:
        What the function returns for all edges at once.
    """
    first = operands[0]
    size = max(1, BLOCK_BYTES // bytes_per_edge)
    if size >= len(first) or first.device.type != "cpu":
        return list(function(*operands))
    blocks = [
        function(*block)
        for block in zip(*(operand.split(size) for operand in operands), strict=True)
    ]
    return [torch.cat(parts) for parts in zip(*blocks, strict=True)]
