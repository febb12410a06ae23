"""Floating-point operations of matrix products, as PyTorch counts them."""

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode


def matrix_flops(call: Callable[[], object]) -> int:
    """Additions and multiplications in the matrix products of a call.

    The zeros of dense matrices with blocks are counted, element-wise operations and
    compiled ops are not.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())
