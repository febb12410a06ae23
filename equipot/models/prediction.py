"""Predictions of a potential."""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from equipot.heads.hessian_blocks import HessianBlocks

Output = Literal[
    "energy", "forces", "stress", "stresses", "hessian", "hessian_direct", "features"
]


@dataclass(frozen=True)
class Prediction:
    """Predictions for a batch of structures; outputs that were not requested are None.

    ========  ====================  ==========================================
    field     shape                 unit
    ========  ====================  ==========================================
    energy    ``(graphs,)``         eV, float64, reference energies included
    energies  ``(atoms,)``          eV, float64; they sum to the energy
    forces    ``(atoms, 3)``        eV/Å
    stress    ``(graphs, 3, 3)``    eV/Å^3, symmetric, positive in tension; NaN
                                    without a periodic direction; of a slab or
                                    wire along its periodic directions only
    stresses  ``(atoms, 3, 3)``     eV/Å^3; they sum to the stress
    hessian   a tuple of            eV/Å^2; one block for each structure, as
              ``(n, 3, n, 3)``      structures do not interact
    ========  ====================  ==========================================

    ``hessian_direct`` are the blocks in eV/Å^2 predicted by a direct head, which are
    not derivatives of the energy. ``features``, of shape ``(atoms, channels)``, are the
    scalars of the last layer, detached.
    """

    energy: Float[Tensor, " graphs"]
    energies: Float[Tensor, " atoms"]
    forces: Float[Tensor, "atoms 3"] | None = None
    stress: Float[Tensor, "graphs 3 3"] | None = None
    hessian: tuple[Tensor, ...] | None = None
    hessian_direct: HessianBlocks | None = None
    features: Float[Tensor, "atoms channels"] | None = None
    stresses: Float[Tensor, "atoms 3 3"] | None = None
