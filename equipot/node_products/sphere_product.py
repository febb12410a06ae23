"""Products of functions on the sphere, by Clebsch-Gordan couplings."""

from typing import final

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from equipot.constants import Constant
from equipot.so3 import degree_slice, num_components, wigner_3j
from equipot.tensor_products.spec import Path, gaunt_factor


@final
class SphereProduct:
    """Product of two band-limited functions, truncated to a highest degree."""

    def __init__(self, lmax_left: int, lmax_right: int, lmax_out: int) -> None:
        tensor = _gaunt_tensor(lmax_left, lmax_right, lmax_out)
        self._maps = [
            Constant(tensor[:, degree_slice(degree)].flatten(1))
            for degree in range(lmax_left + 1)
        ]

    def __call__(
        self,
        left: Float[Tensor, "nodes sph_left channels"],
        right: Float[Tensor, "nodes sph_right channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Multiply functions given by coefficients in harmonics of unit norm."""
        total = left.new_zeros(())
        for degree, couplings in enumerate(self._maps):
            rows = left[:, degree_slice(degree)]
            pairs = (rows[:, :, None] * right[:, None]).flatten(1, 2)
            total = total + couplings.like(left) @ pairs
        return total


def _gaunt_tensor(
    lmax_left: int, lmax_right: int, lmax_out: int
) -> Float64[Tensor, "sph_out sph_left sph_right"]:
    """Integrals of products of three harmonics of unit norm."""
    sizes = [num_components(lmax) for lmax in (lmax_out, lmax_left, lmax_right)]
    tensor = torch.zeros(sizes, dtype=torch.float64)
    for left in range(lmax_left + 1):
        for right in range(lmax_right + 1):
            for out in range(abs(left - right), min(left + right, lmax_out) + 1, 2):
                integrals = wigner_3j(left, right, out).permute(2, 0, 1)
                tensor[degree_slice(out), degree_slice(left), degree_slice(right)] = (
                    gaunt_factor(Path(left, right, out)) * integrals
                )
    return tensor
