"""TensorNet: Cartesian rank-2 tensors as features of atoms."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.autodiff.activation import silu
from equipot.config.model import TensorNetConfig
from equipot.graph.scatter import scatter_sum
from equipot.models.backbone import Backbone, EdgeGeometry
from equipot.models.products import Products
from equipot.nn import (
    BesselBasis,
    RadialInputs,
    SmoothBesselBasis,
    cosine_envelope,
    polynomial_envelope,
)

Matrices = Float[Tensor, "_rows channels 3 3"]
"""One 3x3 matrix per row and channel."""
Parts = tuple[Matrices, Matrices, Matrices]
"""Isotropic, antisymmetric and symmetric traceless parts of matrices."""


class Radial(NamedTuple):
    """Radial inputs; the last row is for length zero."""

    basis: Float[Tensor, "pairs_plus_1 num_basis"]
    """Radial basis functions."""
    envelope: Float[Tensor, "pairs_plus_1 1"]
    """Factor that vanishes at the cutoff; zero at length zero without self-neighbor."""


@final
class TensorNet(Backbone):
    """TensorNet backbone: embedding of element pairs, then matrix-product interactions.

    The embedding counts as the first layer. In the paper, an atom is its own neighbor
    at distance zero, and the envelope is a cosine, whose second derivative is
    discontinuous at the cutoff; the polynomial envelope is the default here.

    Args:
        config: Hyperparameters.
        atomic_numbers: Chemical elements, ascending.
        average_num_neighbors: Not used: messages are normalized by matrix norms.
        products: Not used: the architecture has no tensor products.

    Source:
        G. Simeon, G. De Fabritiis, NeurIPS 2023, section 3.
    """

    def __init__(
        self,
        config: TensorNetConfig,
        atomic_numbers: Sequence[int],
        average_num_neighbors: float,
        products: Products,
    ) -> None:
        layers, channels = config.num_layers, config.channels
        super().__init__(config.cutoff, [channels] * layers, [0] * layers)
        self.envelope_power = config.envelope_power
        self.cosine = config.envelope == "cosine"
        if self.cosine:
            self.hessian_jumps = (config.cutoff,)
        self.self_neighbor = config.self_neighbor
        basis = BesselBasis if config.radial_basis == "bessel" else SmoothBesselBasis
        self.basis = basis(config.cutoff, config.num_basis)
        self.embedding = Embedding(len(atomic_numbers), channels, config.num_basis)
        self.interactions = nn.ModuleList(
            Interaction(channels, config.num_basis) for _ in range(layers - 1)
        )
        read = layers if config.readouts == "all" else 1
        self.invariants = nn.ModuleList(
            Invariants(channels, activation=config.scalar_activation)
            for _ in range(read)
        )

    def forward(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> list[Float[Tensor, "nodes 1 channels"]]:
        """Scalars after each layer."""
        radial = self._radial(edges.lengths)
        layers = [self.embedding(elements, edges, radial)]
        for interaction in self.interactions:
            layers.append(interaction(layers[-1], edges, radial))
        unread = len(layers) - len(self.invariants)
        features = [_trace(x) for x in layers[:unread]]
        for invariants, x in zip(self.invariants, layers[unread:], strict=True):
            features.append(invariants(x))
        return [scalars[:, None] for scalars in features]

    @property
    def radial_inputs(self) -> RadialInputs:
        """Radial basis functions and envelope of lengths in Å."""
        return RadialInputs(self.basis, lambda r: self._envelope(r / self.cutoff))

    def at_zero(self, like: Tensor) -> Radial:
        """Radial inputs at length zero, with the precision and device of a tensor."""
        return self._radial(like.new_empty(0, 1))

    def _radial(self, lengths: Float[Tensor, "pairs 1"]) -> Radial:
        """Radial basis functions and envelope of all pairs, and at length zero."""
        basis = torch.cat([self.basis(lengths), self.basis.at_zero(lengths)])
        at_zero = 0.0 if self.self_neighbor else 1.0
        scaled = nn.functional.pad(lengths / self.cutoff, (0, 0, 0, 1), value=at_zero)
        return Radial(basis, self._envelope(scaled))

    def _envelope(self, x: Float[Tensor, "rows 1"]) -> Float[Tensor, "rows 1"]:
        """Envelope of lengths divided by the cutoff."""
        if self.cosine:
            return cosine_envelope(x)
        return polynomial_envelope(x, self.envelope_power)


@final
class Embedding(nn.Module):
    """Initial matrices of the atoms from elements and directions of edges."""

    def __init__(self, num_elements: int, channels: int, num_basis: int) -> None:
        super().__init__()
        self.elements = nn.Embedding(num_elements, channels)
        self.pairs = nn.Linear(2 * channels, channels)
        self.radial = nn.Linear(num_basis, 3 * channels)
        self.norm = nn.LayerNorm(channels)
        self.hidden = nn.Linear(channels, 2 * channels)
        self.factors = nn.Linear(2 * channels, 3 * channels)
        self.mix = TensorLinear(channels)

    def forward(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry, radial: Radial
    ) -> Matrices:
        """Matrices before the first interaction."""
        senders, receivers = edges.index
        z = self.elements(elements)
        per_length = self.radial(radial.basis) * radial.envelope
        weights = edges.pairs.expand(per_length[:-1]).chunk(3, dim=1)
        of_edges = self.pairs(torch.cat([z[receivers], z[senders]], dim=1))
        message = sum(
            (of_edges * weight)[..., None, None] * part[:, None]
            for weight, part in zip(weights, _of_vectors(edges.directions), strict=True)
        )
        itself = self.pairs(torch.cat([z, z], dim=1)) * per_length[-1:, : z.shape[1]]
        x = scatter_sum(message, receivers, len(elements)) + _isotropic(itself)
        factors = silu(self.factors(silu(self.hidden(self.norm(_square(x))))))
        return _weighted(self.mix(_parts(x)), factors)


@final
class Interaction(nn.Module):
    """Interaction layer: messages are distance-weighted matrices of the neighbors."""

    def __init__(self, channels: int, num_basis: int) -> None:
        super().__init__()
        self.radial = nn.Sequential(
            nn.Linear(num_basis, channels), nn.SiLU(),
            nn.Linear(channels, 2 * channels), nn.SiLU(),
            nn.Linear(2 * channels, 3 * channels), nn.SiLU(),
        )  # fmt: skip
        self.mix_in = TensorLinear(channels)
        self.mix_out = TensorLinear(channels)

    def forward(self, x: Matrices, edges: EdgeGeometry, radial: Radial) -> Matrices:
        """Matrices after the interaction."""
        senders, receivers = edges.index
        x = x / (_square(x) + 1)[..., None, None]
        parts = self.mix_in(_parts(x))
        per_length = self.radial(radial.basis) * radial.envelope
        weights = edges.pairs.expand(per_length[:-1])
        sent = parts[0][senders], parts[1][senders], parts[2][senders]
        message = scatter_sum(_weighted(sent, weights), receivers, len(x))
        message = message + _weighted(parts, per_length[-1:].expand(len(x), -1))
        y = parts[0] + parts[1] + parts[2]
        # Both orders, so that reflections only change the sign of antisymmetric parts.
        product = message @ y + y @ message
        product = product / (_square(product) + 1)[..., None, None]
        mixed = self.mix_out(_parts(product))
        update = mixed[0] + mixed[1] + mixed[2]
        return x + update + update @ update


@final
class TensorLinear(nn.Module):
    """Linear map of channels, separate for each part."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, channels, channels) / channels**0.5)

    def forward(self, parts: Parts) -> Parts:
        """Mix the channels of each part."""
        mixed = (
            torch.einsum("nixy,io->noxy", part, weight)
            for part, weight in zip(parts, self.weight, strict=True)
        )
        isotropic, antisymmetric, symmetric = mixed
        return isotropic, antisymmetric, symmetric


@final
class Invariants(nn.Module):
    """Scalars from the squared norms of the parts of matrices."""

    def __init__(self, channels: int, *, activation: bool) -> None:
        super().__init__()
        self.activation = activation
        self.norm = nn.LayerNorm(3 * channels)
        self.linear = nn.Linear(3 * channels, channels)

    def forward(self, x: Matrices) -> Float[Tensor, "nodes channels"]:
        """Normalize the squared norms and mix them."""
        norms = torch.cat([_square(part) for part in _parts(x)], dim=1)
        scalars: Tensor = self.linear(self.norm(norms))
        return silu(scalars) if self.activation else scalars


def _of_vectors(
    n: Float[Tensor, "edges 3"],
) -> tuple[
    Float[Tensor, "edges 3 3"], Float[Tensor, "edges 3 3"], Float[Tensor, "edges 3 3"]
]:
    """Identity, cross-product matrix and traceless outer product of unit vectors."""
    identity = torch.eye(3, dtype=n.dtype, device=n.device).expand(len(n), 3, 3)
    x, y, z = n.unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1)
    return identity, cross.view(-1, 3, 3), n[:, :, None] * n[:, None] - identity / 3


def _trace(x: Matrices) -> Float[Tensor, "_rows channels"]:
    return x.diagonal(dim1=2, dim2=3).sum(2)


def _isotropic(scalars: Float[Tensor, "nodes channels"]) -> Matrices:
    """Scalars times the identity matrix."""
    identity = torch.eye(3, dtype=scalars.dtype, device=scalars.device)
    return scalars[..., None, None] * identity


def _parts(x: Matrices) -> Parts:
    """Decomposition in isotropic, antisymmetric and symmetric traceless parts."""
    isotropic = _isotropic(x.diagonal(dim1=2, dim2=3).mean(2))
    return isotropic, (x - x.mT) / 2, (x + x.mT) / 2 - isotropic


def _square(x: Matrices) -> Float[Tensor, "_rows channels"]:
    """Squared Frobenius norms."""
    return x.square().sum((2, 3))


def _weighted(parts: Parts, weights: Float[Tensor, "_rows three_channels"]) -> Matrices:
    """Weighted sum of the parts."""
    isotropic, antisymmetric, symmetric = weights[..., None, None].chunk(3, dim=1)
    return isotropic * parts[0] + antisymmetric * parts[1] + symmetric * parts[2]
