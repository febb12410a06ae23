"""Head for direct Hessians: second derivatives predicted without differentiation."""

from collections.abc import Sequence
from typing import Literal, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.constants import Constant
from equipot.graph.atomic_graph import AtomicGraph, edge_vectors
from equipot.heads.hessian_blocks import HessianBlocks
from equipot.heads.sum_rule import with_sum_rule
from equipot.nn import BesselBasis, DegreeLinear, RadialMLP, polynomial_envelope
from equipot.so3 import degree_slice, num_components, wigner_3j

MAX_BLOCK_DEGREE = 2
"""Highest degree of a 3x3 block: 1 x 1 = 0 + 1 + 2."""
OUTPUT_UNIT_EV_PER_A2 = 10.0
"""Second derivative in eV/Å^2 per unit of the network output."""
WEIGHT_DECAY_LENGTH_A = 1.0
"""Decay length in Å of the weights of antisymmetric corrections by the sum rule."""

SumRule = Literal["on_site", "projection"]


@final
class DirectHessianHead(nn.Module):
    r"""Blocks of a Hessian from the features of both atoms and the vector between them.

    .. math:: \Phi_{ij} = M_{ij} + M_{ji}^T, \qquad
              M = s I + s' n n^T + a n^T + n b^T + G
                  + \sum_c \zeta_c \, v^i_c \, (v^j_c)^T

    with the direction n of the pair; vectors a, b and symmetric traceless matrices G
    that are sums of the degree-1 and degree-2 features of both atoms; and weights of
    all terms from an MLP of the length, the scalars, and the projections of the
    features on n. A block is even under inversion; its part of degree 1, a
    pseudovector, which features of natural parity do not contain, comes from the
    products of two odd vectors.

    The result is *not* the derivative of an energy. By construction it is symmetric,
    equivariant under rotations, reflections and permutations, vanishes smoothly at its
    cutoff, and satisfies the acoustic sum rule:

    - "on_site": on-site blocks are minus the sum of the pair blocks, which are
    corrected
      such that this sum is symmetric (`equipot.heads.sum_rule`). Size-consistent, for
      crystals and molecules.
    - "projection": on-site blocks are predicted, and the means over atoms of rows and
      columns are subtracted from the whole matrix. For molecules only, and not
      size-consistent: distant fragments affect each other.

    Args:
        lmax: Degree of the features of each layer of the backbone; degrees above 2 are
            not used.
        channels_in: Channels of the features of each layer.
        channels: Channels in the head.
        cutoff: Cutoff of the pair blocks in Å.
        num_basis: Number of Bessel functions of the length.
        hidden: Hidden widths of the MLP.
        envelope_power: Order of the envelope.
        sum_rule: "on_site" or "projection", see above.
        detach: Whether gradients of the head do not reach the backbone.

    Source:
        Blocks from degrees 0, 1, 2, and symmetry by addition of the transpose:
        A. Burger et al., HIP, arXiv:2509.21624. Both sum rules are original.
    """

    def __init__(
        self,
        lmax: Sequence[int],
        channels_in: Sequence[int],
        *,
        channels: int,
        cutoff: float,
        num_basis: int,
        hidden: Sequence[int],
        envelope_power: int,
        sum_rule: SumRule = "on_site",
        detach: bool = False,
    ) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.sum_rule: SumRule = sum_rule
        self.detach = detach
        self._channels = channels
        self._power = envelope_power
        self.mix = nn.ModuleList(
            DegreeLinear(min(degree, MAX_BLOCK_DEGREE), width, 2 * channels)
            for degree, width in zip(lmax, channels_in, strict=True)
        )
        self.basis = BesselBasis(cutoff, num_basis)
        self.pair = RadialMLP(num_basis + 6 * channels, hidden, 11 * channels + 2)
        if sum_rule == "projection":
            self.node = RadialMLP(2 * channels, hidden, 4 * channels + 1)
        # Symmetric traceless matrices of the components of degree 2.
        self._matrices = Constant(wigner_3j(1, 1, 2) * 5**0.5)
        self._identity = Constant(torch.eye(3, dtype=torch.float64, device="cpu"))

    def forward(
        self, layers: Sequence[Float[Tensor, "atoms _sph channels"]], graph: AtomicGraph
    ) -> HessianBlocks:
        """Blocks of all pairs of a graph.

        Args:
            layers: Features of the atoms after each layer of the backbone.
            graph: Its edges are the pairs; complete within the cutoff of the head.

        Raises:
            ValueError: If an edge has no reverse, or `sum_rule` is "projection" and a
                structure is periodic.
        """
        if self.sum_rule == "projection" and bool(graph.pbc.any()):
            raise ValueError(
                "sum_rule 'projection' is for molecules: in a crystal the sum rule "
                "would hold at q = 0 only; build the model with "
                "model.direct_hessian.sum_rule = on_site"
            )
        x = self._features(layers)
        vectors = edge_vectors(graph)
        lengths = vectors.norm(dim=1, keepdim=True)
        directions = (vectors / lengths).to(x.dtype)
        lengths = lengths.to(x.dtype)
        envelope = polynomial_envelope(lengths / self.cutoff, self._power)
        one_way = self._pairs(x, directions, lengths, envelope, graph.edge_index)
        pairs = one_way + one_way[reverse_edges(graph)].mT
        if self.sum_rule == "on_site":
            weights = envelope * torch.exp(-lengths / WEIGHT_DECAY_LENGTH_A)
            pairs, on_site = with_sum_rule(
                pairs, weights[:, 0], graph.edge_index, graph.batch, graph.num_graphs
            )
        else:
            on_site = self._nodes(x)
        return HessianBlocks(
            pairs,
            on_site,
            graph.edge_index,
            vectors,
            graph.batch,
            graph.num_graphs,
            projected=self.sum_rule == "projection",
        )

    def _features(
        self, layers: Sequence[Float[Tensor, "atoms _sph channels"]]
    ) -> Float[Tensor, "atoms 9 mixed"]:
        """Sum over layers of their features up to degree 2, with mixed channels."""
        out = None
        for mix, features in zip(self.mix, layers, strict=True):
            kept = features[:, : num_components(MAX_BLOCK_DEGREE)]
            mixed = mix(kept.detach() if self.detach else kept)
            missing = num_components(MAX_BLOCK_DEGREE) - mixed.shape[1]
            padded = nn.functional.pad(mixed, (0, 0, 0, missing))
            out = padded if out is None else out + padded
        if out is None:
            raise ValueError("a direct Hessian needs features of at least one layer")
        return out

    def _pairs(
        self,
        x: Float[Tensor, "atoms 9 mixed"],
        directions: Float[Tensor, "edges 3"],
        lengths: Float[Tensor, "edges 1"],
        envelope: Float[Tensor, "edges 1"],
        edge_index: Int[Tensor, "2 edges"],
    ) -> Float[Tensor, "edges 3 3"]:
        """Matrices M of all directed edges."""
        c = self._channels
        senders, receivers = edge_index
        both = torch.cat([x[receivers][..., :c], x[senders][..., c:]], dim=2)
        scalars = both[:, 0]
        first, second = both[:, degree_slice(1)], both[:, degree_slice(2)]
        # Contraction of each matrix of degree 2 with n gives a vector.
        along = torch.einsum("abm,eb->eam", self._matrices.like(x), directions)
        vectors = torch.cat([first, along @ second], dim=2)
        projections = torch.einsum("eac,ea->ec", vectors, directions)
        weights = self.pair(
            torch.cat([self.basis(lengths), scalars, projections], dim=1), envelope
        )
        of_vectors, of_matrices, of_products, of_scalars = weights.split(
            [8 * c, 2 * c, c, 2], dim=1
        )
        a, b = (
            torch.einsum("eac,ekc->kea", vectors, of_vectors.unflatten(1, (2, 4 * c)))
            / (4 * c) ** 0.5
        )
        g = torch.einsum("emc,ec->em", second, of_matrices) / (2 * c) ** 0.5
        outer = (first[..., :c] * of_products[:, None]) @ first[..., c:].mT / c**0.5
        isotropic = of_scalars[:, 0, None, None] * self._identity.like(x)
        a = a + of_scalars[:, 1:] * directions
        blocks = (
            a[:, :, None] * directions[:, None]
            + directions[:, :, None] * b[:, None]
            + torch.einsum("abm,em->eab", self._matrices.like(x), g)
            + outer
            + isotropic
        )
        return OUTPUT_UNIT_EV_PER_A2 / 2 * blocks

    def _nodes(self, x: Float[Tensor, "atoms 9 mixed"]) -> Float[Tensor, "atoms 3 3"]:
        """Symmetric on-site blocks of all atoms."""
        c = self._channels
        weights = self.node(x[:, 0], torch.ones_like(x[:, 0, :1]))
        of_matrices, of_products, of_scalars = weights.split([2 * c, 2 * c, 1], dim=1)
        first, second = x[:, degree_slice(1)], x[:, degree_slice(2)]
        g = torch.einsum("nmc,nc->nm", second, of_matrices) / (2 * c) ** 0.5
        outer = (first * of_products[:, None]) @ first.mT / (2 * c) ** 0.5
        matrices = torch.einsum("abm,nm->nab", self._matrices.like(x), g)
        isotropic = of_scalars[..., None] * self._identity.like(x)
        return OUTPUT_UNIT_EV_PER_A2 * (matrices + outer + isotropic)


def reverse_edges(graph: AtomicGraph) -> Int[Tensor, " edges"]:
    """Index of the edge (j, i, -T) for every edge (i, j, T).

    Raises:
        ValueError: If an edge has no reverse.
    """
    if graph.pairs.alone and graph.num_edges > 0:
        raise ValueError(
            "expected a full edge list, got an edge without its reverse; "
            "build the graph with equipot.neighbors.build_graph"
        )
    return graph.pairs.reverse
