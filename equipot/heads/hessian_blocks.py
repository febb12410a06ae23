"""Hessians as 3x3 blocks of pairs of atoms, resolved by periodic image."""

from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

from equipot.graph.scatter import scatter_sum


@dataclass(frozen=True)
class HessianBlocks:
    r"""Blocks :math:`\Phi_{ij}(T)` of one structure or a batch, in eV/Å^2.

    .. math:: \Phi_{ij}(T) = \frac{\partial^2 E}{\partial r_i \, \partial r_j(T)},
              \qquad \Phi_{ji}(-T) = \Phi_{ij}(T)^T

    with the receiver i of an edge in the cell, and the image of its sender j at the
    lattice translation T.
    """

    pairs: Float[Tensor, "edges 3 3"]
    """Blocks of the directed edges."""
    on_site: Float[Tensor, "atoms 3 3"]
    """On-site blocks of the atoms."""
    edge_index: Int[Tensor, "2 edges"]
    """Senders (row 0) and receivers (row 1)."""
    vectors: Float[Tensor, "edges 3"]
    """Vectors from receivers to the images of senders, in Å."""
    batch: Int[Tensor, " atoms"]
    """Structure index of every atom, ascending."""
    num_graphs: int
    """Number of structures."""
    projected: bool = False
    """Whether uniform translations are projected out of the matrices."""

    def detach(self) -> "HessianBlocks":
        """Copy detached from the graph."""
        return HessianBlocks(
            self.pairs.detach(),
            self.on_site.detach(),
            self.edge_index,
            self.vectors.detach(),
            self.batch,
            self.num_graphs,
            self.projected,
        )

    def products(
        self, vectors: Float[Tensor, "vectors atoms 3"]
    ) -> Float[Tensor, "vectors atoms 3"]:
        """Products of the Hessian with cell-periodic displacements.

        Args:
            vectors: Displacements in any unit; structures of a batch do not mix.

        Returns:
            Hessian times displacement, in eV/Å^2 times that unit.
        """
        senders, receivers = self.edge_index
        x = self._without_mean(vectors.to(self.pairs.dtype)).transpose(0, 1)
        along = torch.einsum("eab,ekb->eka", self.pairs, x[senders])
        out = scatter_sum(along, receivers, len(self.on_site))
        out = out + torch.einsum("nab,nkb->nka", self.on_site, x)
        return self._without_mean(out.transpose(0, 1))

    def matrices(self) -> list[Float[Tensor, "_rows _rows"]]:
        """Hessian ``(3 N, 3 N)`` of every structure; indices are (atom, xyz).

        For a periodic structure these are second derivatives with respect to
        cell-periodic displacements: the sum of the blocks of all images.
        """
        counts = torch.bincount(self.batch, minlength=self.num_graphs).tolist()
        return [self._matrix(n, count) for n, count in enumerate(counts)]

    def at_wave_vector(
        self, wave_vector: Float[Tensor, " 3"]
    ) -> Complex[Tensor, "rows rows"]:
        r"""Fourier transform of the blocks at a wave vector.

        .. math:: \Phi_{ij}(q) = \sum_T \Phi_{ij}(T) \,
                                  e^{i q \cdot (r_j + T - r_i)}

        Divided by the square roots of the masses of i and j it is the dynamical matrix.
        It is Hermitian, and at zero equals the result of `matrices`.

        Args:
            wave_vector: Wave vector in 1/Å, including factors of 2 pi.

        Raises:
            ValueError: If there is not exactly one structure, or translations are
                projected out, which is defined at q = 0 only.
        """
        if self.num_graphs != 1 or self.projected:
            raise ValueError(
                "a wave vector needs the blocks of one structure with sum_rule "
                f"'on_site', got {self.num_graphs} structures"
                + (" with sum_rule 'projection'" if self.projected else "")
            )
        senders, receivers = self.edge_index
        phase = torch.exp(1j * (self.vectors.double() @ wave_vector.double()))
        size = len(self.on_site)
        out = torch.zeros(size * size, 3, 3, dtype=phase.dtype, device=phase.device)
        out = out.index_add(
            0, receivers * size + senders, phase[:, None, None] * self.pairs
        )
        atoms = torch.arange(size, device=phase.device)
        out = out.index_add(0, atoms * (size + 1), self.on_site.to(out.dtype))
        return out.unflatten(0, (size, size)).transpose(1, 2).reshape(3 * size, -1)

    def _matrix(self, graph: int, count: int) -> Float[Tensor, "rows rows"]:
        atoms = torch.nonzero(self.batch == graph)[:, 0]
        first = int(atoms[0]) if count else 0
        own = self.batch[self.edge_index[1]] == graph
        senders, receivers = self.edge_index[:, own] - first
        out = self.pairs.new_zeros(count * count, 3, 3)
        out = out.index_add(0, receivers * count + senders, self.pairs[own])
        site = torch.arange(count, device=out.device) * (count + 1)
        out = out.index_add(0, site, self.on_site[atoms])
        out = out.unflatten(0, (count, count))
        if self.projected:
            out = out - out.mean(0, keepdim=True)
            out = out - out.mean(1, keepdim=True)
        return out.transpose(1, 2).reshape(3 * count, 3 * count)

    def _without_mean(
        self, vectors: Float[Tensor, "vectors atoms 3"]
    ) -> Float[Tensor, "vectors atoms 3"]:
        """Displacements, without uniform translations if these are projected out."""
        if not self.projected:
            return vectors
        counts = torch.bincount(self.batch, minlength=self.num_graphs).clamp(min=1)
        sums = scatter_sum(vectors.transpose(0, 1), self.batch, self.num_graphs)
        mean = sums / counts[:, None, None].to(sums.dtype)
        return vectors - mean[self.batch].transpose(0, 1)
