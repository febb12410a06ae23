"""Higher derivatives as functions of a structure, with checks of their results."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float

from equipot.calculators import EquipotCalculator
from equipot.graph.atomic_graph import AtomicGraph
from equipot.hessians import third_derivative_products
from equipot.neighbors import build_graph

HessianFunction = Callable[[Atoms], np.ndarray]
"""Function from a structure to its Hessian in eV/Å^2, shape ``(N, 3, N, 3)``."""

ProductFunction = Callable[[Atoms, np.ndarray], np.ndarray]
"""Function from a structure and displacements ``(k, N, 3)`` in Å to Hessian-vector
products ``(k, N, 3)``: first-order changes of the gradient in eV/Å."""

ThirdProductFunction = Callable[[Atoms, np.ndarray, np.ndarray], np.ndarray]
"""Function from a structure, a displacement ``(N, 3)`` and others ``(k, N, 3)`` in Å to
the third derivatives contracted with the first and each of the others, ``(k, N, 3)``:
second-order changes of the gradient in eV/Å."""

Progress = Callable[[int, int], None]
"""Called with the number of completed atoms and the total number of atoms."""

ATOMS_PER_PROGRESS: Final = 8
"""Number of atoms whose Hessian rows are computed between two progress reports."""


def model_hessian(
    calculator: EquipotCalculator, progress: Progress | None = None
) -> HessianFunction:
    """Hessian function of a potential by automatic differentiation.

    Args:
        calculator: Calculator of the potential.
        progress: Called at the start and after each group of rows.
    """
    if progress is None:
        return calculator.get_hessian

    def in_parts(atoms: Atoms) -> Float[np.ndarray, "atoms 3 atoms 3"]:
        calculator.get_forces(atoms)  # raises for unsupported structures
        graph, count = model_graph(calculator, atoms), len(atoms)
        parts = []
        progress(0, count)
        for first in range(0, count, ATOMS_PER_PROGRESS):
            rows = range(first, min(first + ATOMS_PER_PROGRESS, count))
            part = calculator.evaluation.hessian(graph, atoms=rows)
            parts.append(part.double().cpu().numpy())
            progress(rows.stop, count)
        return np.concatenate(parts)

    return in_parts


def model_products(calculator: EquipotCalculator) -> ProductFunction:
    """Hessian-vector product function of a potential."""
    potential = calculator.potential

    def products(
        atoms: Atoms, directions: Float[np.ndarray, "directions atoms 3"]
    ) -> Float[np.ndarray, "directions atoms 3"]:
        graph = model_graph(calculator, atoms)
        vectors = torch.as_tensor(directions, dtype=torch.float64).to(potential.device)
        out = calculator.evaluation.hessian_products(graph, vectors)
        return out.cpu().numpy()

    return products


def model_third_products(calculator: EquipotCalculator) -> ThirdProductFunction:
    """Function of the contractions of the third derivatives of a potential."""
    potential = calculator.potential

    def products(
        atoms: Atoms,
        first: Float[np.ndarray, "atoms 3"],
        second: Float[np.ndarray, "directions atoms 3"],
    ) -> Float[np.ndarray, "directions atoms 3"]:
        graph = model_graph(calculator, atoms)
        u, w = (
            torch.as_tensor(v, dtype=torch.float64).to(potential.device)
            for v in (first, second)
        )
        return third_derivative_products(potential, graph, u, w).cpu().numpy()

    return products


def model_graph(calculator: EquipotCalculator, atoms: Atoms) -> AtomicGraph:
    """Graph of a structure for the potential of a calculator, on its device."""
    potential = calculator.potential
    graph = build_graph(atoms, potential.cutoff, dtype=torch.float64)
    return graph.to(potential.device)


def interaction_range(calculator: EquipotCalculator) -> float:
    """Distance in Å beyond which two atoms of a potential do not interact.

    The energy of an atom depends on atoms within one cutoff per layer, and two atoms
    interact through the energies of all atoms between them.
    """
    potential = calculator.potential
    return 2 * potential.cutoff * potential.num_layers


def pair_cutoff(atoms: Atoms) -> float | None:
    """Cutoff of the pairs of atoms that enter the energy of a structure.

    Args:
        atoms: Structure with a calculator.

    Returns:
        Cutoff in Å of a potential of this package; None for any other calculator.
    """
    if isinstance(atoms.calc, EquipotCalculator):
        return float(atoms.calc.potential.cutoff)
    return None


def difference_step(calculator: EquipotCalculator) -> float:
    """Displacement in Å that minimizes the error of finite differences of forces.

    The truncation error is quadratic in the step, the rounding error is proportional to
    its inverse: single precision needs a longer step.
    """
    return 1e-3 if calculator.potential.dtype == torch.float64 else 1e-2


def hessian_matrix(hessian: HessianFunction, atoms: Atoms) -> Float[np.ndarray, "n n"]:
    """Symmetric Hessian matrix in eV/Å^2.

    Args:
        hessian: Hessian function.
        atoms: Structure.

    Raises:
        ValueError: If the Hessian has the wrong shape, is not finite, or is asymmetric
            beyond rounding errors.
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
            "the Hessian is not finite: the structure is far from the training data, "
            "or two atoms coincide"
        )
    asymmetry = np.abs(matrix - matrix.T).max(initial=0.0)
    if asymmetry > 1e-2 * max(np.abs(matrix).max(initial=0.0), 1.0):
        raise ValueError(
            f"expected a symmetric Hessian, got an asymmetry of {asymmetry:.2g} "
            "eV/Å^2: it is not the second derivative of an energy"
        )
    return (matrix + matrix.T) / 2
