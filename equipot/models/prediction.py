"""Predictions of a potential."""

from collections.abc import Sequence
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

    def split(self, num_atoms: Sequence[int]) -> "list[Prediction]":
        """Predictions of the single structures of a batch, as views; no Hessians.

        Args:
            num_atoms: Number of atoms of each structure, in the order of the batch.
        """
        atoms, graphs = list(num_atoms), [1] * len(num_atoms)
        return [
            Prediction(
                energy, energies, forces, stress, features=features, stresses=stresses
            )
            for energy, energies, forces, stress, features, stresses in zip(
                self.energy.split(graphs),
                self.energies.split(atoms),
                split_rows(self.forces, atoms),
                split_rows(self.stress, graphs),
                split_rows(self.features, atoms),
                split_rows(self.stresses, atoms),
                strict=True,
            )
        ]


def split_rows(
    values: Float[Tensor, "rows ..."] | None, counts: Sequence[int]
) -> Sequence[Tensor] | Sequence[None]:
    """Consecutive rows of a tensor; None for each part without a tensor.

    Args:
        values: Rows of all parts, in their order.
        counts: Number of rows of each part.
    """
    return [None] * len(counts) if values is None else values.split(list(counts))
