"""Constants that keep double precision whatever happens to their module."""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn


@final
class Constant:
    """A float64 tensor that is cast and moved where it is used, never in place.

    A buffer of a module is rounded by ``module.float()`` and stays rounded after
    ``module.double()``. A `Constant` is not part of the module's state, so that a
    potential in float64 always computes with constants of full precision.
    """

    def __init__(self, value: Tensor | Sequence[float]) -> None:
        if isinstance(value, Tensor) and value.dtype != torch.float64:
            raise TypeError(f"a constant must be float64, got {value.dtype}")
        if not isinstance(value, Tensor):  # on the CPU also within torch.device("meta")
            value = torch.tensor(value, dtype=torch.float64, device="cpu")
        self._value = value.detach().cpu()
        self._copies: dict[tuple[torch.dtype, torch.device], Tensor] = {}

    def like(self, tensor: Tensor) -> Tensor:
        """The constant with the type and on the device of `tensor`."""
        key = (tensor.dtype, tensor.device)
        if key not in self._copies:
            self._copies[key] = self._value.to(tensor.device, tensor.dtype)
        return self._copies[key]


def stored_constant(value: Sequence[float] | float) -> nn.Parameter:
    """A weight that is not trained, with all digits of float64.

    For constants that a converted model has in the precision of its original. They are
    cast with the module that they are part of.

    Args:
        value: Numbers, or one.
    """
    tensor = torch.tensor(value, dtype=torch.float64)
    return nn.Parameter(tensor, requires_grad=False)
