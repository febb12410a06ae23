"""Exact acoustic sum rule of pair blocks and on-site blocks."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equipot.graph.scatter import scatter_sum


def with_sum_rule(
    pairs: Float[Tensor, "edges 3 3"],
    weights: Float[Tensor, " edges"],
    edge_index: Int[Tensor, "2 edges"],
    batch: Int[Tensor, " atoms"],
    num_graphs: int,
) -> tuple[Float[Tensor, "edges 3 3"], Float[Tensor, "atoms 3 3"]]:
    r"""Correct pair blocks such that symmetric on-site blocks satisfy the sum rule.

    On-site blocks equal to minus the sum of the pair blocks are symmetric only if the
    antisymmetric parts of the latter, pseudovectors :math:`a_{ij} = -a_{ji}`, sum to
    zero at every atom, that is if they are a divergence-free flow on the graph. The
    divergence is projected out, orthogonally in the norm :math:`\sum a^2 / w`:

    .. math:: a_{ij} \to a_{ij} - w_{ij} (\varphi_i - \varphi_j), \qquad
              \sum_j w_{ij} (\varphi_i - \varphi_j) = \sum_j a_{ij}

    The Poisson equation decouples for disconnected parts of the graph, so the result is
    size-consistent. In a supercell the solution is periodic.

    Args:
        pairs: Blocks with :math:`\Phi_{ji}(-T) = \Phi_{ij}(T)^T`.
        weights: w, positive within the cutoff and equal for an edge and its reverse.
        edge_index: Senders and receivers.
        batch: Structure index of every atom, ascending.
        num_graphs: Number of structures.

    Returns:
        Pair blocks with corrected antisymmetric parts, and symmetric on-site blocks;
        the blocks of each atom sum to zero.
    """
    senders, receivers = edge_index
    symmetric, flow = (pairs + pairs.mT) / 2, (pairs - pairs.mT) / 2
    sources = scatter_sum(flow, receivers, len(batch))
    potential = _solve_poisson(sources, weights, edge_index, batch, num_graphs)
    difference = potential[receivers] - potential[senders]
    pairs = symmetric + flow - weights[:, None, None] * difference
    on_site = -scatter_sum(pairs, receivers, len(batch))
    return pairs, (on_site + on_site.mT) / 2


def _solve_poisson(
    sources: Float[Tensor, "atoms 3 3"],
    weights: Float[Tensor, " edges"],
    edge_index: Int[Tensor, "2 edges"],
    batch: Int[Tensor, " atoms"],
    num_graphs: int,
) -> Float[Tensor, "atoms 3 3"]:
    """Minimum-norm solution of the Poisson equation of each structure, in float64."""
    counts = torch.bincount(batch, minlength=num_graphs)
    size = int(counts.max()) if len(batch) else 0
    first = counts.cumsum(0) - counts
    place = torch.arange(len(batch), device=batch.device) - first[batch]
    senders, receivers = edge_index
    row = (batch * size + place) * size
    flat = weights.new_zeros(num_graphs * size * size, dtype=torch.float64)
    w = weights.double()
    flat = flat.index_add(0, row[receivers] + place[senders], -w)
    flat = flat.index_add(0, row[receivers] + place[receivers], w)
    laplacian = flat.view(num_graphs, size, size)
    right = sources.new_zeros(num_graphs * size, 9, dtype=torch.float64)
    at = batch * size + place
    right = right.index_add(0, at, sources.double().flatten(1))
    solution = torch.linalg.pinv(laplacian, hermitian=True) @ right.view(
        num_graphs, size, 9
    )
    return solution.view(-1, 3, 3)[at].to(sources.dtype)
