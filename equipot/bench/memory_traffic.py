"""Memory traffic of a call: bytes read and written, operation by operation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, no_type_check

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

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
        if not _is_view(func):
            read, written = _size((args, kwargs)), _size(result)
            if func._schema.name in GATHERS:
                read = written
            self.moved += read + written
        return result


def _is_view(func: Any) -> bool:
    """Whether a result shares memory with an operand that is not written to."""
    return any(
        returned.alias_info is not None and not returned.alias_info.is_write
        for returned in func._schema.returns
    )


def _size(value: object) -> int:
    """Bytes of all tensors in nested arguments; repeated rows count once."""
    match value:
        case Tensor():
            return value.element_size() * _distinct(value)
        case Mapping():
            return sum(_size(item) for item in value.values())
        case str():
            return 0
        case Sequence():
            return sum(_size(item) for item in value)
    return 0


def _distinct(tensor: Tensor) -> int:
    """Elements of a tensor without those that expanding repeats."""
    if tensor.layout != torch.strided or tensor.numel() == 0:
        return tensor.numel()
    out = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        out *= size if stride != 0 else 1
    return out
