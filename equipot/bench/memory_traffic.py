"""Memory traffic of a call: bytes read and written, operation by operation."""

import math
from collections.abc import Callable
from typing import Final, no_type_check

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

GATHERS: Final = ("aten::index_select", "aten::index", "aten::gather")
"""Operations that read only the rows that they return."""


def moved_bytes(call: Callable[[], object]) -> int:
    """Bytes that the operations of a call read and write.

    Each operation of PyTorch reads its operands once and writes its results once;
    views move nothing. A compiled op counts as one operation. Caches may serve part of
    this traffic.
    """
    with _Counter() as counter:
        call()
    return counter.moved


class _Counter(TorchDispatchMode):
    """Adds up operands and results of every operation."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = 0

    @no_type_check
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        aliases = [returned.alias_info for returned in func._schema.returns]
        if all(alias is None or alias.is_write for alias in aliases):  # no view
            written = _size(result)
            gathers = func._schema.name in GATHERS
            self.moved += written + (written if gathers else _size((args, kwargs)))
        return result


def _size(values: object) -> int:
    """Bytes of all tensors in nested arguments; repeated rows count once."""
    return sum(
        t.element_size() * (_distinct(t) if t.layout == torch.strided else t.numel())
        for t in tree_leaves(values)
        if isinstance(t, Tensor)
    )


def _distinct(tensor: Tensor) -> int:
    """Elements of a tensor without those that expanding repeats."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in sizes if stride != 0 or size == 0)
