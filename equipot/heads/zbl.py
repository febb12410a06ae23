"""Ziegler-Biersack-Littmark (ZBL) repulsion of screened nuclei at short range."""

from typing import final

import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.constants import Constant
from equipot.heads.screened_nuclei import (
    Screening,
    screened_repulsion,
    sums_of_radii,
)
from equipot.nn import polynomial_envelope

COULOMB_EV_A = 14.399645478425668
"""e^2 / (4 pi eps0) in eV Å (CODATA 2018)."""
BOHR_A = 0.529177210903
"""Bohr radius in Å (CODATA 2018)."""


@final
class ZBLRepulsion(nn.Module):
    r"""Universal ZBL repulsion with a smooth cutoff.

    .. math:: V(r) = \frac{e^2}{4\pi\epsilon_0} \frac{Z_i Z_j}{r} \,
              \phi(r / a) \, u(r / (R_i + R_j))^2, \qquad
              a = \frac{0.8854 \, a_0}{Z_i^{0.23} + Z_j^{0.23}}

    with the sum of the covalent radii as cutoff and the polynomial envelope u. It has
    no trainable parameters: the network learns the remainder.

    The cutoff is at bond lengths, so the envelope is squared, which makes five
    derivatives continuous. With only two, as at the cutoff of the edges, the third
    derivative would jump by 1900 eV/Å^3 for O-H, and finite differences of forces over
    0.01 Å would have errors of 5 eV/Å^2.

    Source:
        J. F. Ziegler, J. P. Biersack, U. Littmark, *The Stopping and Range of Ions in
        Matter* (Pergamon, 1985).
    """

    def __init__(self, cutoff: float, envelope_power: int) -> None:
        super().__init__()
        self._cutoff = cutoff
        self._power = envelope_power
        self._radii = Constant(torch.from_numpy(covalent_radii.copy()))
        self._amplitudes = Constant([0.18175, 0.50986, 0.28022, 0.02817])
        self._decays = Constant([3.1998, 0.94229, 0.4029, 0.20162])

    def reach(self, a: int, b: int) -> float:
        """Distance in Å beyond which two elements have no energy."""
        radii = self._radii.like(torch.empty(0, dtype=torch.float64))
        return min(float(radii[a] + radii[b]), self._cutoff)

    def forward(
        self,
        atomic_numbers: Int[Tensor, " nodes"],
        lengths: Float[Tensor, "edges 1"],
        edge_index: Int[Tensor, "2 edges"],
    ) -> Float[Tensor, " nodes"]:
        """Half of the sum of the pair energies of each atom, in eV."""
        radii = sums_of_radii(self._radii.like(lengths), atomic_numbers, edge_index)
        reach = radii.clamp(max=self._cutoff)
        screening = Screening(
            COULOMB_EV_A,
            0.8854 * BOHR_A,
            0.23,
            self._amplitudes.like(lengths),
            self._decays.like(lengths),
        )
        return screened_repulsion(
            screening,
            atomic_numbers,
            lengths,
            edge_index,
            lambda r: polynomial_envelope(r / reach, self._power) ** 2,
        )
