"""Lowest eigenmodes of large structures by matrix-free diagonalization."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from scipy.sparse import bsr_array
from scipy.sparse.linalg import LinearOperator, eigsh

from equipot.autodiff.derivatives import hessian_vector_product
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.differentiable import differentiable_forces
from equipot.models.energy_model import EnergyModel
from equipot.models.hessian_vector import HessianProducts, hessian_vector_products


@dataclass(frozen=True)
class Modes:
    """Eigenvectors of a Hessian."""

    eigenvalues: Float64[np.ndarray, " modes"]
    """Eigenvalues in eV/Å^2, or eV/(Å^2 amu) with masses; ascending."""
    vectors: Float64[np.ndarray, "modes atoms 3"]
    """Orthonormal eigenvectors; with masses, in mass-weighted coordinates."""
    products: int
    """Number of Hessian-vector products."""


def lowest_modes(
    model: EnergyModel,
    graph: AtomicGraph,
    k: int,
    *,
    masses: Float64[np.ndarray, " atoms"] | None = None,
    hessian: bsr_array | None = None,
    tolerance: float = 1e-8,
    max_products: int = 20_000,
) -> Modes:
    r"""Lowest eigenmodes by the Lanczos method, without translations.

    Only Hessian-vector products are needed, each at about the cost of one evaluation of
    forces. Translations are shifted above the spectrum; rotations of a molecule are
    included in the results.

    Args:
        model: Model in any mode; its weights are not changed.
        graph: One structure, on the device of the model.
        k: Number of modes, less than ``3 * num_atoms - 3``.
        masses: Masses in amu, for :math:`M^{-1/2} H M^{-1/2}`; H itself by default.
        hessian: Hessian from `sparse_hessian`, if available, which makes products much
            faster. The model is then not evaluated.
        tolerance: Relative error of the eigenvalues.
        max_products: Largest number of Hessian-vector products.

    Raises:
        ValueError: If the graph is a batch, or `k` is out of range.
        ArpackNoConvergence: If the modes are not converged within `max_products`.

    Source:
        R. B. Lehoucq, D. C. Sorensen, C. Yang, *ARPACK Users' Guide* (SIAM, 1998).
    """
    size = 3 * graph.num_atoms
    if graph.num_graphs != 1:
        raise ValueError(f"expected one structure, got a batch of {graph.num_graphs}")
    if not 0 < k < size - 3:
        raise ValueError(
            f"k must be between 1 and {size - 4}, one less than the number of modes "
            f"without translations, got {k}"
        )
    product = _product(model, graph) if hessian is None else hessian.__matmul__
    roots = np.ones(size) if masses is None else np.repeat(np.sqrt(masses), 3)
    translations = _translations(roots)
    count = 0

    def apply(vector: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        v = vector.ravel()
        weights = translations @ v
        v = v - weights @ translations
        out = product(v / roots) / roots
        return (
            out - (translations @ out) @ translations + top * (weights @ translations)
        )

    top = 0.0  # until the upper end of the spectrum is known
    operator = LinearOperator((size, size), matvec=apply, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=size)
    end = eigsh(operator, 1, which="LA", tol=0.1, v0=start, return_eigenvectors=False)
    top = 2 * abs(float(end[0])) + 1.0
    ncv = min(size - 1, max(4 * k + 1, 40))
    values, vectors = eigsh(
        operator,
        k,
        which="SA",
        ncv=ncv,
        tol=tolerance,
        v0=start,
        maxiter=max(1, max_products // (ncv - k)),
    )
    order = np.argsort(values)
    return Modes(values[order], vectors.T[order].reshape(k, -1, 3), count)


def _product(
    model: EnergyModel, graph: AtomicGraph
) -> Callable[[np.ndarray], np.ndarray]:
    """Function for products of the Hessian with flat vectors."""
    if isinstance(model, HessianProducts):

        def own_product(vector: np.ndarray) -> np.ndarray:
            directions = torch.from_numpy(vector.reshape(1, -1, 3))
            out = hessian_vector_products(model, graph, directions)
            return out.double().numpy().ravel()

        return own_product
    forces, positions = differentiable_forces(model, graph)

    def product(vector: np.ndarray) -> np.ndarray:
        direction = torch.from_numpy(vector.reshape(-1, 3)).to(positions.device)
        out = hessian_vector_product(forces, positions, direction)
        return out.double().cpu().numpy().ravel()

    return product


def _translations(
    roots: Float64[np.ndarray, " size"],
) -> Float64[np.ndarray, "3 size"]:
    """Orthonormal vectors of the uniform translations."""
    units = np.tile(np.eye(3), len(roots) // 3) * roots
    return units / np.linalg.norm(units, axis=1, keepdims=True)
