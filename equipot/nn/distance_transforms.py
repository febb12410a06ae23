"""Maps of interatomic distances that depend on the elements of both atoms.

Numbers of a transform are weights that are not trained: a converted model keeps those
of the original, in the precision that it had them in.
"""

from collections.abc import Sequence
from typing import final

import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.constants import stored_constant


@final
class AgnesiTransform(nn.Module):
    r"""Distances in units of the mean covalent radius, mapped to the interval (0, 1).

    .. math:: \rho(r) = \left[ 1 + \frac{a \, x^p}{1 + x^{p-q}} \right]^{-1}, \qquad
              x = \frac{2 r}{R_i + R_j}

    Args:
        atomic_numbers: Chemical elements, in the order of their indices.

    Source:
        W. C. Witt et al., J. Chem. Phys. 159, 164101 (2023).
    """

    def __init__(self, atomic_numbers: Sequence[int]) -> None:
        super().__init__()
        self.radii = stored_constant(covalent_radii[list(atomic_numbers)].tolist())
        self.a = stored_constant(1.0805)
        self.q = stored_constant(0.9183)
        self.p = stored_constant(4.5791)

    def forward(
        self, lengths: Float[Tensor, "edges 1"], elements: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, "edges 1"]:
        """Numbers without unit; 1 at length zero.

        Args:
            lengths: In Å.
            elements: Indices of the elements of the two atoms of each edge.
        """
        x = lengths / (0.5 * _sum_of_radii(self.radii, elements))
        far = self.a * x**self.p / (1 + x ** (self.p - self.q))
        return 1 / (1 + far)


@final
class SoftTransform(nn.Module):
    r"""Distances of which those shorter than bonds are mapped close to one value.

    .. math:: \rho(r) = r_0 + \frac{r - r_0}{2} \left[ 1 + \tanh\left(
              \alpha \, \frac{r - \tfrac{1}{2} (r_0 + r_1)}{r_1 - r_0} \right) \right]

    between :math:`r_0 = \tfrac{3}{4} (R_i + R_j)` and :math:`r_1 = \tfrac{4}{3} (R_i +
    R_j)`, with covalent radii R.

    Args:
        atomic_numbers: Chemical elements, in the order of their indices.

    Source:
        The package mace-torch, as of version 0.3.13.
    """

    def __init__(self, atomic_numbers: Sequence[int]) -> None:
        super().__init__()
        self.radii = stored_constant(covalent_radii[list(atomic_numbers)].tolist())
        self.alpha = stored_constant(4.0)

    def forward(
        self, lengths: Float[Tensor, "edges 1"], elements: Int[Tensor, "2 edges"]
    ) -> Float[Tensor, "edges 1"]:
        """Lengths in Å.

        Args:
            lengths: In Å.
            elements: Indices of the elements of the two atoms of each edge.
        """
        radii = _sum_of_radii(self.radii, elements)
        low, high = 3 / 4 * radii, 4 / 3 * radii
        at = self.alpha * (lengths - 0.5 * (low + high)) / (high - low)
        return low + (lengths - low) * 0.5 * (1 + torch.tanh(at))


def _sum_of_radii(
    radii: Float[Tensor, " elements"], elements: Int[Tensor, "2 edges"]
) -> Float[Tensor, "edges 1"]:
    return radii[elements].sum(0)[:, None]
