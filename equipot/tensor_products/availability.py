"""Which backends can run on this machine."""

from collections.abc import Callable

import torch

from equipot import ops
from equipot.tensor_products import cuequivariance

_CHECKS: dict[str, Callable[[torch.device], str | None]] = {
    "cuequivariance": cuequivariance.unavailable,
    "fused": ops.unavailable,
}
"""Backends that need more than PyTorch."""


def unavailable(name: str, device: torch.device) -> str | None:
    """What a backend lacks to run on a device, and how to get it; None if it can.

    Args:
        name: Among `equipot.tensor_products.BACKENDS`.
        device: Where it is to compute.
    """
    check = _CHECKS.get(name)
    return None if check is None else check(device)
