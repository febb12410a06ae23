"""Availability of backends on this machine."""

from collections.abc import Callable

import torch

from equipot import ops
from equipot.tensor_products import cuequivariance

_CHECKS: dict[str, Callable[[torch.device], str | None]] = {
    "cuequivariance": cuequivariance.unavailable,
    "fused": ops.unavailable,
}
"""Availability functions of backends that need more than PyTorch."""


def unavailable(name: str, device: torch.device) -> str | None:
    """Reason why a backend cannot run on a device, with the remedy; None if it can.

    Args:
        name: Name in `equipot.tensor_products.BACKENDS`.
        device: Device to compute on.
    """
    check = _CHECKS.get(name)
    return None if check is None else check(device)
