"""Second derivatives as functions of a structure, and what they must be like."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from equipot.calculators import EquipotCalculator
from equipot.graph.atomic_graph import AtomicGraph
from equipot.hessians import hessian, hessian_vector_products
from equipot.neighbors import build_graph

HessianFunction = Callable[[Atoms], np.ndarray]
"""From a structure to its second derivatives in eV/Å^2, shape ``(N, 3, N, 3)``."""

ProductFunction = Callable[[Atoms, np.ndarray], np.ndarray]
"""From a structure and displacements ``(k, N, 3)`` in Å to the changes of the gradient
that they cause, to first order, in eV/Å: Hessian-vector products ``(k, N, 3)``."""


Progress = Callable[[int, int], None]
"""Is told how many atoms are done, and of how many."""

ROWS: Final = 8
"""Atoms whose rows of a Hessian are differentiated between two reports of progress."""


def model_hessian(
    calculator: EquipotCalculator, progress: Progress | None = None
) -> HessianFunction:
    """Hessian of a potential by differentiation, for what wants a function.

    Args:
        calculator: Of the potential.
        progress: Is told of the start and whenever the rows of some atoms are done.
    """
    if progress is None:
        return calculator.get_hessian

    def in_parts(atoms: Atoms) -> Float[np.ndarray, "atoms 3 atoms 3"]:
        calculator.get_forces(atoms)  # refuses what the potential does not know
        graph, count = model_graph(calculator, atoms), len(atoms)
        parts = []
        progress(0, count)
        for first in range(0, count, ROWS):
            rows = range(first, min(first + ROWS, count))
            part = hessian(calculator.potential, graph, atoms=rows)
            parts.append(part.double().cpu().numpy())
            progress(rows.stop, count)
        return np.concatenate(parts)

    return in_parts


def model_products(calculator: EquipotCalculator) -> ProductFunction:
    """Hessian-vector products of a potential, for what wants a function."""
    potential = calculator.potential

    def products(
        atoms: Atoms, directions: Float[np.ndarray, "directions atoms 3"]
    ) -> Float[np.ndarray, "directions atoms 3"]:
        graph = model_graph(calculator, atoms)
        vectors = torch.as_tensor(directions, dtype=torch.float64).to(potential.device)
        return hessian_vector_products(potential, graph, vectors).cpu().numpy()

    return products


def model_graph(calculator: EquipotCalculator, atoms: Atoms) -> AtomicGraph:
    """Graph of a structure for the potential of a calculator, on its device."""
    potential = calculator.potential
    graph = build_graph(atoms, potential.cutoff, dtype=torch.float64)
    return graph.to(potential.device)


def interaction_range(calculator: EquipotCalculator) -> float:
    """Distance in Å beyond which two atoms of a potential do not feel each other.

    The energy of an atom depends on others within `cutoff` for each layer, and two
    atoms interact through the energy of any atom between them.
    """
    potential = calculator.potential
    return 2 * potential.cutoff * potential.num_layers


def pair_cutoff(atoms: Atoms) -> float | None:
    """Distance in Å within which pairs of atoms enter the energy of a structure.

    Args:
        atoms: Structure with a calculator.

    Returns:
        That of a potential of this package; None for any other calculator.
    """
    if isinstance(atoms.calc, EquipotCalculator):
        return float(atoms.calc.potential.cutoff)
    return None


def difference_step(calculator: EquipotCalculator) -> float:
    """Displacement in Å at which differences of forces are most accurate.

    The error of truncation falls with the square of the step, that of rounding grows
    with its inverse: single precision needs a longer one.
    """
    return 1e-3 if calculator.potential.dtype == torch.float64 else 1e-2


def hessian_matrix(hessian: HessianFunction, atoms: Atoms) -> Float[np.ndarray, "n n"]:
    """Second derivatives as a symmetric matrix, in eV/Å^2.

    Args:
        hessian: Where they come from.
        atoms: Structure.

    Raises:
        ValueError: If they do not have the right shape, are not finite, or are
            asymmetric beyond what rounding can explain.
    """
    values = np.asarray(hessian(atoms), dtype=float)
    n = len(atoms)
    if values.shape != (n, 3, n, 3):
        raise ValueError(
            f"expected a Hessian of shape {(n, 3, n, 3)}, got {values.shape}"
        )
    matrix = values.reshape(3 * n, 3 * n)
    if not np.isfinite(matrix).all():
        raise ValueError(
            "the Hessian is not finite: the structure is far from what the potential "
            "knows, or two atoms coincide"
        )
    asymmetry = np.abs(matrix - matrix.T).max(initial=0.0)
    if asymmetry > 1e-2 * max(np.abs(matrix).max(initial=0.0), 1.0):
        raise ValueError(
            f"expected a symmetric Hessian, got an asymmetry of {asymmetry:.2g} "
            "eV/Å^2: these are not second derivatives of one energy"
        )
    return (matrix + matrix.T) / 2
