"""Parallel evaluation of Hessian rows, one row per thread."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch


def for_each_row(row: Callable[[int], None], count: int) -> None:
    """Call a function for every row, in as many threads as PyTorch uses.

    The operations of one row are too small for several threads. Rows are independent,
    and each is computed by one thread: the result is identical bit for bit for any
    number of threads. The first row is computed before all others, so that cached
    intermediate results exist when they start.

    Args:
        row: Function of the row index that computes and stores the row, on the CPU.
        count: Number of rows.
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
            # Converting to a list re-raises the exceptions of rows.
            list(pool.map(row, range(1, count)))
    finally:
        # New threads of the process use the number that was set last in any thread.
        torch.set_num_threads(threads)
