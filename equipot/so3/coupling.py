"""Wigner 3j symbols in the real basis."""

from functools import cache

import torch
from e3nn import o3
from jaxtyping import Float64
from torch import Tensor


@cache
def wigner_3j(l1: int, l2: int, l3: int) -> Float64[Tensor, "m1 m2 m3"]:
    r"""Real coupling coefficients :math:`C^{l_1 l_2 l_3}` of unit Frobenius norm.

    The result is cached and must not be modified.

    Source:
        Sign convention of e3nn; the polar axis is y.
    """
    with torch.device("cpu"):  # also if modules are built on the meta device
        return o3.wigner_3j(l1, l2, l3, dtype=torch.float64)
