"""Repulsion of screened nuclei as MACE models have it."""

from typing import final

import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.constants import Constant, stored_constant
from equipot.heads.screened_nuclei import (
    Screening,
    screened_repulsion,
    sums_of_radii,
)
from equipot.nn import polynomial_envelope

COULOMB_EV_A = 14.3996
"""e^2 / (4 pi eps0) in eV Å, as rounded there."""
BOHR_A = 0.529
"""Bohr radius in Å, as rounded there."""


@final
class MACERepulsion(nn.Module):
    r"""Repulsion of Ziegler, Biersack and Littmark with the constants of mace-torch.

    .. math:: V(r) = \frac{e^2}{4\pi\epsilon_0} \frac{Z_i Z_j}{r} \,
              u(r / (R_i + R_j)) \sum_n c_n e^{-d_n r / a}, \qquad
              a = \frac{0.4543 \, a_0}{Z_i^{0.3} + Z_j^{0.3}}

    Its numbers are weights that are not trained: a converted model keeps those of the
    original, and has its scale in the amplitudes c.

    The envelope u ends at the sum of the covalent radii, where bonds are, with two
    continuous derivatives: third derivatives jump there. For new models,
    `equipot.heads.zbl` is smoother. Where elements are so large that their bonds are
    longer than the cutoff of the model, energies jump at the cutoff, as there.

    Args:
        cutoff: In Å; longer edges do not count.
        envelope_power: Order of the polynomial envelope.

    Source:
        The package mace-torch, as of version 0.3.5.
    """

    def __init__(self, cutoff: float, envelope_power: int) -> None:
        super().__init__()
        self._cutoff = cutoff
        self._power = envelope_power
        self.amplitudes = stored_constant([0.1818, 0.5099, 0.2802, 0.02817])
        self.exponent = stored_constant(0.3)
        self.length = stored_constant(0.4543)
        self.radii = stored_constant(covalent_radii.tolist())
        self._decays = Constant([3.2, 0.9423, 0.4028, 0.2016])

    def reach(self, a: int, b: int) -> float:
        """Distance in Å beyond which two elements have no energy."""
        return min(float(self.radii[a] + self.radii[b]), self._cutoff)

    def forward(
        self,
        atomic_numbers: Int[Tensor, " nodes"],
        lengths: Float[Tensor, "edges 1"],
        edge_index: Int[Tensor, "2 edges"],
    ) -> Float[Tensor, " nodes"]:
        """Half of the pair energies of each atom in eV."""
        reach = sums_of_radii(self.radii, atomic_numbers, edge_index)
        screening = Screening(
            COULOMB_EV_A,
            self.length * BOHR_A,
            self.exponent,
            self.amplitudes,
            self._decays.like(lengths),
        )
        return screened_repulsion(
            screening,
            atomic_numbers,
            lengths,
            edge_index,
            lambda r: torch.where(
                r < self._cutoff, polynomial_envelope(r / reach, self._power), 0.0
            ),
        )
