"""Third-order force constants by automatic differentiation, for phono3py."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from equipot.workflows.phonons import ForceConstants, as_atoms
from equipot.workflows.second_derivatives import (
    ProductFunction,
    ThirdProductFunction,
)


@dataclass(frozen=True)
class ThirdOrder:
    """Third-order force constants of a supercell, with its symmetry by phono3py.

    Attributes:
        phono3py: `phono3py.Phono3py` object with these and with the harmonic force
            constants, which may be those of a larger supercell.
        compact: In eV/Å^3 between atoms of the primitive cell and those of the
            supercell, rows in the order of ``phono3py.primitive.p2s_map``.
        pairs: Number of pairs of displacements.
        asymmetry: Largest change by a permutation of atoms, relative to the largest
            force constant.
        sum_rule: Largest sum over the last atom, likewise.
    """

    phono3py: Any
    compact: Float[np.ndarray, "primitive atoms atoms 3 3 3"]
    pairs: int
    asymmetry: float
    sum_rule: float

    def record(self) -> dict[str, Any]:
        """Plain numbers, with the units in the names."""
        return {
            "supercell_matrix": self.phono3py.supercell_matrix.tolist(),
            "supercell_atoms": len(self.phono3py.supercell),
            "pairs_of_displacements": self.pairs,
            "largest_ev_per_cubic_angstrom": float(np.abs(self.compact).max()),
            "relative_asymmetry": self.asymmetry,
            "relative_sum_rule": self.sum_rule,
        }


def third_order_force_constants(
    constants: ForceConstants,
    supercell: tuple[int, int, int],
    products: ProductFunction,
    third_products: ThirdProductFunction,
    progress: Callable[[int, int], None] | None = None,
) -> ThirdOrder:
    r"""Third-order force constants, using the symmetry found by phono3py.

    Phono3py determines pairs of displacements u, w of two atoms and solves for the
    force constants from forces. Those are differentiated here,

    .. math:: F_i(u, w) = -\sum_j \Phi_{ij} (u_j + w_j) - \sum_{jk} \Phi_{ijk} u_j w_k

    to the order that the force constants need, so that they have no truncation error:
    one Hessian-vector product per first displacement, and one more backward pass per
    pair. Nothing is symmetrized: the violations show the errors.

    Args:
        constants: Harmonic force constants of the same crystal.
        supercell: Number of replicas along each lattice vector, for the third order.
        products: Hessian-vector products of the energy.
        third_products: Contractions of its third derivatives.
        progress: Called with the number of first displacements that are finished, and
            of all.

    Raises:
        ImportError: If phono3py is not installed.
    """
    lattice = _phono3py(constants.phonopy, supercell)
    structure = as_atoms(lattice.supercell)
    firsts = lattice.dataset["first_atoms"]
    harmonic = _Harmonic(lambda moved: products(structure, moved[None])[0])
    pairs = 0
    for number, first in enumerate(firsts):
        if progress is not None:
            progress(number, len(firsts))
        u = _moved(first, len(structure))
        first["forces"] = -harmonic(first, u)
        seconds = first["second_atoms"]
        w = np.stack([_moved(second, len(structure)) for second in seconds])
        curvature = third_products(structure, u, w)
        for second, moved, change in zip(seconds, w, curvature, strict=True):
            second["forces"] = first["forces"] - harmonic(second, moved) - change
        pairs += len(seconds)
    lattice.phonon_dataset = constants.phonopy.dataset
    lattice.produce_fc3()
    lattice.fc2 = constants.compact
    compact = np.array(lattice.fc3)
    largest = np.abs(compact).max()
    return ThirdOrder(
        phono3py=lattice,
        compact=compact,
        pairs=pairs,
        asymmetry=float(_asymmetry(compact, lattice.primitive.p2s_map) / largest),
        sum_rule=float(np.abs(compact.sum(axis=2)).max() / largest),
    )


def _phono3py(phonopy: Any, supercell: tuple[int, int, int]) -> Any:
    """Phono3py object of the same crystal, with pairs of displacements."""
    try:
        from phono3py import Phono3py  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError(
            "third-order force constants need phono3py, which is not installed: "
            "pip install 'phono3py>=4.8,<5'"
        ) from error
    lattice = Phono3py(
        phonopy.unitcell,
        supercell_matrix=np.diag(supercell),
        primitive_matrix=phonopy.primitive_matrix,
        phonon_supercell_matrix=phonopy.supercell_matrix,
    )
    lattice.generate_displacements(is_plusminus=False)
    return lattice


class _Harmonic:
    """Products of the Hessian with displacements of single atoms, without repetition.

    Args:
        product: Hessian-vector product of the supercell.
    """

    def __init__(self, product: Callable[[np.ndarray], np.ndarray]) -> None:
        self._product = product
        self._known: dict[tuple[int, bytes], np.ndarray] = {}

    def __call__(
        self, displacement: Any, moved: Float[np.ndarray, "atoms 3"]
    ) -> Float[np.ndarray, "atoms 3"]:
        """Product with `moved`, which is this displacement of phono3py."""
        vector = np.asarray(displacement["displacement"], dtype=float)
        key = (int(displacement["number"]), vector.tobytes())
        if key not in self._known:
            self._known[key] = self._product(moved)
        return self._known[key]


def _moved(displacement: Any, count: int) -> Float[np.ndarray, "atoms 3"]:
    moved = np.zeros((count, 3))
    moved[int(displacement["number"])] = displacement["displacement"]
    return moved


def _asymmetry(
    compact: Float[np.ndarray, "primitive atoms atoms 3 3 3"],
    rows: Int[np.ndarray, " primitive"],
) -> float:
    """Largest change of compact force constants by a permutation of their atoms.

    The last two atoms are exchanged for all atoms of the supercell, the first two for
    those of the primitive cell.
    """
    last = np.abs(compact - compact.transpose(0, 2, 1, 3, 5, 4)).max()
    both = compact[:, rows]
    first = np.abs(both - both.transpose(1, 0, 2, 4, 3, 5)).max()
    return float(max(last, first))
