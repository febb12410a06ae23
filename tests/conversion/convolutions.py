"""Networks of the NequIP family from their equations, path by path: slow and plain."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import silu

from equipot.graph.atomic_graph import AtomicGraph, edge_vectors
from equipot.so3 import spherical_harmonics, wigner_3j

Features = dict[int, Tensor]
"""Components and channels by degree."""
Path = tuple[int, int, int]


def paths_of(
    degrees: Sequence[int], lmax: int, targets: Sequence[int], *, odd: bool
) -> Iterator[Path]:
    """Couplings in the order features, harmonic, result."""
    for l1 in degrees:
        for l2 in range(lmax + 1):
            for l3 in range(abs(l1 - l2), l1 + l2 + 1):
                if l3 in targets and (odd or (l1 + l2 + l3) % 2 == 0):
                    yield l1, l2, l3


def linear(x: Features, matrices: Mapping[int, Tensor]) -> Features:
    """Matrices of e3nn, which are divided by the root of their number of rows."""
    return {n: x[n] @ w / len(w) ** 0.5 for n, w in matrices.items() if n in x}


def convolve(
    x: Features,
    graph: AtomicGraph,
    lmax: int,
    columns: Tensor,
    paths: Sequence[Path],
    couplings: Callable[[Path], Tensor] = lambda path: wigner_3j(*path),
) -> Features:
    """Sum of messages; blocks of all paths to a degree beside each other, sorted.

    Args:
        x: Features.
        graph: Edges point from the receiver to the sender.
        lmax: Highest degree of harmonics.
        columns: Radial weights of the edges, in the order of the paths.
        paths: Couplings.
        couplings: Tensor of a coupling.
    """
    senders, receivers = graph.edge_index
    vectors = edge_vectors(graph)
    harmonics = spherical_harmonics(lmax, vectors / vectors.norm(dim=1, keepdim=True))
    blocks: dict[Path, Tensor] = {}
    start = 0
    for path in paths:
        l1, l2, l3 = path
        width = x[l1].shape[2]
        weights = columns[:, start : start + width]
        start += width
        message = torch.einsum(
            "abk,eac,eb,ec->ekc",
            couplings(path) * (2 * l3 + 1) ** 0.5,
            x[l1][senders],
            harmonics[:, l2**2 : (l2 + 1) ** 2],
            weights,
        )
        zeros = torch.zeros(graph.num_atoms, 2 * l3 + 1, width, dtype=torch.float64)
        blocks[path] = zeros.index_add(0, receivers, message)
    assert start == columns.shape[1]
    ends = sorted({path[2] for path in paths})
    return {
        n: torch.cat([blocks[p] for p in sorted(blocks) if p[2] == n], dim=2)
        for n in ends
    }


def gate(x: Features, channels: Sequence[int], gain: float) -> Features:
    """SiLU of scalars; those after the first channels multiply the other degrees."""
    parts = (silu(x[0]) * gain).split(list(channels), dim=2)
    return {n: part if n == 0 else part * x[n] for n, part in enumerate(parts)}


def bessel(graph: AtomicGraph, roots: Tensor, cutoff: float) -> Tensor:
    """Radial functions without an envelope."""
    lengths = edge_vectors(graph).norm(dim=1, keepdim=True)
    return 2 / cutoff * torch.sin(roots * lengths) / lengths
