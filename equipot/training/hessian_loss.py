"""Hessian errors estimated from a few Hessian-vector products."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from equipot.data.ragged import RaggedMatrices
from equipot.graph.atomic_graph import AtomicGraph
from equipot.graph.scatter import scatter_sum

HessianMode = Literal["full", "rows", "probes", "atoms", "subspace"]
SAMPLED: Final = frozenset({"rows", "probes", "atoms"})
"""Modes that use random numbers."""


@dataclass(frozen=True)
class HessianVectors:
    r"""Vectors v of each structure, and their products with the reference Hessian.

    With the error D = H - H_ref of a structure with n = 3 N rows, all modes but the
    last estimate the mean penalty of its :math:`n^2` entries:

    - "full": the rows of the unit matrix; D v are the rows of D.
    - "rows": k rows drawn without replacement, each with weight n/k. Unbiased for
      every penalty.
    - "probes": k vectors of independent signs. Unbiased for squares,
      :math:`E |D v|^2 = \sum_{ij} D_{ij}^2`, at the cost of k columns instead of n.
    - "atoms": k vectors that displace one atom of each element along one axis, all of
      them drawn at random; an element of m atoms has the amplitude
      :math:`\pm\sqrt{3 m}`, of random sign, so that the same expectation holds. In a
      crystal, most atoms of an element are equivalent: the terms
      :math:`v_i v_j (D^2)_{ij}` between atoms, which are the noise of "probes", are few
      and between distant atoms.
    - "subspace": the k eigenvectors of H_ref with the lowest eigenvalues; the errors
      are the :math:`k^2` numbers :math:`v_a^T H v_b - \lambda_a \delta_{ab}`.
      Only the reference is diagonalized.

    Source:
        Probes: M. F. Hutchinson, Commun. Stat. Simul. 18, 1059 (1989). Rows: HORM,
        arXiv:2505.12447. Subspace: HIP, arXiv:2509.21624.
    """

    vectors: Float[Tensor, "vectors atoms 3"]
    """Zero where a structure has no Hessian, or fewer vectors than others."""
    reference: Float[Tensor, "vectors atoms 3"]
    """Products of the reference with them, in eV/Å^2."""
    present: Float[Tensor, "vectors graphs"]
    """Weight of each vector; 0 where a structure has none."""
    entries: int
    """Number of Hessian entries that the weighted sum over the batch estimates."""
    within: bool
    """Whether errors are projected on the subspace of the vectors."""


def draw_vectors(
    mode: HessianMode,
    samples: int,
    graph: AtomicGraph,
    hessians: RaggedMatrices,
    key: Sequence[int],
) -> HessianVectors | None:
    """Vectors for a batch; random ones depend on the key only.

    Args:
        mode: See `HessianVectors`.
        samples: Number of rows, probes, or modes per structure, limited by its size.
        graph: Batch of structures.
        hessians: Reference Hessians of the batch, in eV/Å^2.
        key: Seed, epoch and step, which a resumed run reproduces.

    Returns:
        The vectors; None if no structure has a Hessian.
    """
    generator = np.random.default_rng(list(key))
    matrices = hessians.matrices
    counts = torch.bincount(graph.batch, minlength=graph.num_graphs).tolist()
    elements = np.split(graph.atomic_numbers.cpu().numpy(), np.cumsum(counts)[:-1])
    bases = [
        None if h is None else _basis(mode, samples, h, z, generator)
        for h, z in zip(matrices, elements, strict=True)
    ]
    most = max((len(b) for b in bases if b is not None), default=0)
    if most == 0:
        return None
    device = graph.positions.device
    vectors = torch.zeros(most, graph.num_atoms, 3, dtype=torch.float64, device=device)
    reference = torch.zeros_like(vectors)
    present = vectors.new_zeros(most, graph.num_graphs)
    first = 0
    entries = 0
    for n, (count, basis, h) in enumerate(zip(counts, bases, matrices, strict=True)):
        atoms = slice(first, first + count)
        first += count
        if basis is None or h is None:
            continue
        rows = len(basis)
        vectors[:rows, atoms] = basis.view(rows, count, 3)
        reference[:rows, atoms] = (basis @ h).view(rows, count, 3)
        # the weight of a row or probe scales the sum to all of them
        present[:rows, n] = _share(mode, rows, len(h))
        entries += rows**2 if mode == "subspace" else len(h) ** 2
    return HessianVectors(vectors, reference, present, entries, mode == "subspace")


def residuals(
    drawn: HessianVectors,
    products: Float[Tensor, "vectors atoms 3"],
    batch: Int[Tensor, " atoms"],
) -> tuple[Float[Tensor, "vectors *entries"], Float[Tensor, "vectors *entries"]]:
    """Hessian errors and their weights.

    Args:
        drawn: Vectors and reference.
        products: Products of the predicted Hessian with the vectors, in eV/Å^2.
        batch: Index of the structure of every atom.
    """
    error = products.double() - drawn.reference
    weight = drawn.present
    if not drawn.within:
        return error, weight[:, batch][..., None].expand_as(error)
    # v_a . (D v_b) of every structure
    overlap = torch.einsum("anx,bnx->nab", drawn.vectors, error)
    inside = scatter_sum(overlap, batch, weight.shape[1])
    both = weight.T[:, :, None] * weight.T[:, None]
    return inside.transpose(0, 1), both.transpose(0, 1)


def derivative_products(
    forces: Float[Tensor, "atoms 3"],
    positions: Float[Tensor, "atoms 3"],
    vectors: Float[Tensor, "vectors atoms 3"],
    *,
    create_graph: bool,
) -> Float[Tensor, "vectors atoms 3"]:
    """Hessian-vector products from differentiable forces.

    Args:
        forces: In eV/Å, with a graph to `positions`.
        positions: In Å.
        vectors: Vectors; each costs one backward pass.
        create_graph: Whether the products must be differentiable.
    """
    products = [
        torch.autograd.grad(
            forces,
            positions,
            -vector.to(forces.dtype),
            retain_graph=True,
            create_graph=create_graph,
            materialize_grads=True,
        )[0]
        for vector in vectors
    ]
    return torch.stack(products)


def _basis(
    mode: HessianMode,
    samples: int,
    hessian: Float[Tensor, "rows rows"],
    elements: Int[np.ndarray, " atoms"],
    generator: np.random.Generator,
) -> Float[Tensor, "vectors rows"]:
    size = len(hessian)
    k = min(samples, size)
    if mode == "subspace":
        return torch.linalg.eigh(hessian).eigenvectors[:, :k].T
    if mode == "probes":
        signs = generator.integers(0, 2, (samples, size)) * 2.0 - 1.0
        return torch.from_numpy(signs).to(hessian)
    if mode == "atoms":
        displaced = _displaced_atoms(samples, elements, generator)
        return torch.from_numpy(displaced).to(hessian)
    identity = torch.eye(size).to(hessian)
    if mode == "full":
        return identity
    rows = generator.permutation(size)[:k]
    return identity[torch.from_numpy(rows).to(hessian.device)]


def _displaced_atoms(
    samples: int, elements: Int[np.ndarray, " atoms"], generator: np.random.Generator
) -> Float[np.ndarray, "samples rows"]:
    """Vectors of mode "atoms": three in a row displace along three axes."""
    vectors = np.zeros((samples, len(elements), 3))
    number = np.arange(samples)
    for element in np.unique(elements):
        atoms = np.flatnonzero(elements == element)
        axes = generator.permutation(3)[number % 3]
        chosen = generator.permuted(np.tile(atoms, (3, 1)), axis=1)
        moved = chosen[axes, number // 3 % len(atoms)]
        signs = generator.integers(0, 2, samples) * 2.0 - 1.0
        vectors[number, moved, axes] = signs * np.sqrt(3 * len(atoms))
    return vectors.reshape(samples, -1)


def _share(mode: HessianMode, vectors: int, size: int) -> float:
    """Weight of each row or probe of a structure."""
    if mode == "rows":
        return size / vectors
    return 1 / vectors if mode in {"probes", "atoms"} else 1.0
