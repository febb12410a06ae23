"""Classical potentials as torch modules: what is known of them is known in print."""

from collections.abc import Collection

import torch
from torch import Tensor, nn

from equipot.graph.atomic_graph import AtomicGraph, edge_vectors
from equipot.graph.scatter import scatter_sum
from equipot.models import Prediction


class _ClosedForm(nn.Module):
    """Energies of atoms from edge vectors; forces and batches for free."""

    cutoff: float
    num_layers = 1
    dtype = torch.float64
    device = torch.device("cpu")

    def energies(self, vectors: Tensor, edge_index: Tensor, count: int) -> Tensor:
        raise NotImplementedError

    def forward(
        self, graph: AtomicGraph, outputs: Collection[str], *, create_graph: bool
    ) -> Prediction:
        with torch.enable_grad():
            if not graph.positions.requires_grad:
                graph.positions.requires_grad_()
            vectors = edge_vectors(graph)
            inside = vectors.norm(dim=1) < self.cutoff
            energies = self.energies(
                vectors[inside], graph.edge_index[:, inside], graph.num_atoms
            )
            energy = scatter_sum(energies, graph.batch, graph.num_graphs)
            forces = None
            if "forces" in outputs:
                (gradient,) = torch.autograd.grad(
                    energy.sum(),
                    graph.positions,
                    create_graph=create_graph,
                    retain_graph=True,
                )
                forces = -gradient
        if not create_graph:
            energy, energies = energy.detach(), energies.detach()
        return Prediction(energy, energies, forces)


class LennardJones(_ClosedForm):
    r"""Pairs with :math:`4 \epsilon ((\sigma/r)^{12} - (\sigma/r)^6)`, cut off."""

    def __init__(
        self, epsilon: float = 1.0, sigma: float = 1.0, cutoff: float = 10.0
    ) -> None:
        super().__init__()
        self.epsilon, self.sigma, self.cutoff = epsilon, sigma, cutoff

    def energies(self, vectors: Tensor, edge_index: Tensor, count: int) -> Tensor:
        s6 = (self.sigma**2 / (vectors * vectors).sum(1)) ** 3
        return scatter_sum(2 * self.epsilon * (s6 * s6 - s6), edge_index[1], count)


class StillingerWeber(_ClosedForm):
    """Silicon of F. H. Stillinger and T. A. Weber, Phys. Rev. B 31, 5262 (1985)."""

    epsilon, sigma = 2.1683, 2.0951
    big_a, big_b = 7.049556277, 0.6022245584
    strength, decay = 21.0, 1.2
    cutoff = 1.8 * sigma

    def energies(self, vectors: Tensor, edge_index: Tensor, count: int) -> Tensor:
        receivers = edge_index[1]
        r = vectors.norm(dim=1)
        tail = self.sigma / (r - self.cutoff)
        pair = self.big_a * (self.big_b * (self.sigma / r) ** 4 - 1) * torch.exp(tail)
        first, second = _pairs_of_edges(receivers, count)
        cosine = (vectors[first] * vectors[second]).sum(1) / (r[first] * r[second])
        reach = torch.exp(self.decay * (tail[first] + tail[second]))
        triple = self.strength * (cosine + 1 / 3) ** 2 * reach
        return self.epsilon * (
            scatter_sum(pair / 2, receivers, count)
            + scatter_sum(triple, receivers[first], count)
        )


def _pairs_of_edges(receivers: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """All pairs of different edges that arrive at one atom."""
    degree = torch.bincount(receivers, minlength=count)
    start = degree.cumsum(0) - degree
    first = torch.repeat_interleave(torch.arange(len(receivers)), degree[receivers])
    begin = degree[receivers].cumsum(0) - degree[receivers]
    within = torch.arange(len(first)) - begin[first]
    second = start[receivers[first]] + within
    kept = first < second
    return first[kept], second[kept]
