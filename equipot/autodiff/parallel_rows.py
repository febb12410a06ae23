"""One row of a Hessian per thread."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def for_each_row(row: Callable[[int], None], count: int) -> None:
    """Call a function for every row, as many at a time as PyTorch has threads.

    The operations of one row are too small for several threads. Rows are independent,
    and each is computed by one thread: the result is identical bit for bit for any
    number of threads. The first row is computed before all others, so that cached
    intermediate results exist when they start.

    Args:
        row: Writes what belongs to the row of its number; differentiates on the CPU.
        count: How many rows there are.
    """
    threads = torch.get_num_threads()
    if count > 0:
        row(0)
    if threads == 1 or count < 3:
        for number in range(1, count):
            row(number)
        return
    try:
        with ThreadPoolExecutor(
            threads, initializer=torch.set_num_threads, initargs=(1,)
        ) as pool:
            # the list hands on what a row raised
            list(pool.map(row, range(1, count)))
    finally:
        # new threads of the process take the number that was set last, anywhere
        torch.set_num_threads(threads)
