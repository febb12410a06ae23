"""Repulsion of screened nuclei as NequIP models have it."""

from typing import final

from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.constants import Constant
from equipot.heads.screened_nuclei import Screening, screened_repulsion
from equipot.nn import polynomial_envelope

COULOMB_EV_A = 14.399645
"""e^2 / (4 pi eps0) in eV Å, as rounded there."""
LENGTH_A = 0.4685
"""Factor of the screening length in Å, as rounded there: 0.88534 Bohr radii."""


@final
class NequIPRepulsion(nn.Module):
    r"""Universal ZBL repulsion to the cutoff of the edges, with constants of LAMMPS.

    .. math:: V(r) = \frac{e^2}{4\pi\epsilon_0} \frac{Z_i Z_j}{r} \,
              \phi(r / a) \, u(r / r_c), \qquad a = \frac{b}{Z_i^{0.23} + Z_j^{0.23}}

    It acts on all neighbors, unlike `equipot.heads.zbl`, which ends at the sum of the
    covalent radii.

    Args:
        cutoff: Radius r_c in Å.
        envelope_power: Order of the polynomial envelope.

    Source:
        The package nequip, as of version 0.19; J. F. Ziegler, J. P. Biersack,
        U. Littmark, *The Stopping and Range of Ions in Matter* (Pergamon, 1985).
    """

    def __init__(self, cutoff: float, envelope_power: int) -> None:
        super().__init__()
        self._cutoff = cutoff
        self._power = envelope_power
        self._amplitudes = Constant([0.02817, 0.28022, 0.50986, 0.18175])
        self._decays = Constant([0.20162, 0.4029, 0.94229, 3.1998])

    def reach(self, a: int, b: int) -> float:
        """Distance in Å beyond which two elements have no energy."""
        return self._cutoff

    def forward(
        self,
        atomic_numbers: Int[Tensor, " nodes"],
        lengths: Float[Tensor, "edges 1"],
        edge_index: Int[Tensor, "2 edges"],
    ) -> Float[Tensor, " nodes"]:
        """Half of the sum of the pair energies of each atom, in eV."""
        screening = Screening(
            COULOMB_EV_A,
            LENGTH_A,
            0.23,
            self._amplitudes.like(lengths),
            self._decays.like(lengths),
        )
        return screened_repulsion(
            screening,
            atomic_numbers,
            lengths,
            edge_index,
            lambda r: polynomial_envelope(r / self._cutoff, self._power),
        )
