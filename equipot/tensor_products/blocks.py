"""Evaluation in blocks of edges, whose intermediates fit into the cache."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

BLOCK_BYTES = 4 * 2**20
"""Memory in bytes of the intermediates of a block on a CPU.

A third to a half of the time of a forward pass at lmax 3 over 2,000 edges at once is
spent on allocating new pages of memory, which blocks reuse. Much smaller blocks have
more call overhead.
"""


def in_blocks(
    function: Callable[..., Sequence[Tensor]],
    operands: Sequence[Tensor],
    bytes_per_edge: int,
) -> list[Tensor]:
    """Apply a function of edges block by block.

    Args:
        function: Function from and to tensors whose first dimension is that of edges;
            it acts on each edge independently.
        operands: Arguments of the function for all edges.
        bytes_per_edge: Memory of its intermediates.

    Returns:
        Results of the function for all edges.
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
