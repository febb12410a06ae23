"""Operations that PyTorch executes in products of matrices."""

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode


def matrix_operations(call: Callable[[], object]) -> int:
    """Additions and multiplications in the products of matrices of a call.

    Zeros are multiplied as well: it is more than the operations of an algorithm where
    blocks stand in dense matrices, and less by all that is no product of matrices. What
    compiled ops do is not seen.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())
