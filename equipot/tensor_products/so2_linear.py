"""Linear convolution: maps that mix channels in the frame of each edge (eSCN)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from equipot.graph.connectivity import Connectivity
from equipot.graph.scatter import scatter_sum
from equipot.so3 import num_components
from equipot.so3.edge_frame import WignerRows, edge_frames
from equipot.tensor_products.so2 import components_by_order
from equipot.tensor_products.so2_weights import so2_to_paths, so2_weights
from equipot.tensor_products.spec import Symmetry, TensorProductSpec


@dataclass(frozen=True)
class LinearSpec:
    r"""Linear convolution of node features along edges.

    In the frame of an edge, with m >= 0 and the radial weights r of the edge,

    .. math:: z_{l_3 c_3, +m} &= \sum_{l_1 c_1} r_{m l_1 c_1} (
                  W^c_{m, l_1 c_1, l_3 c_3} x_{l_1 c_1, +m}
                - W^s_{m, l_1 c_1, l_3 c_3} x_{l_1 c_1, -m}) \\
              z_{l_3 c_3, -m} &= \sum_{l_1 c_1} r_{m l_1 c_1} (
                  W^s_{m, l_1 c_1, l_3 c_3} x_{l_1 c_1, +m}
                + W^c_{m, l_1 c_1, l_3 c_3} x_{l_1 c_1, -m})

    It is equivalent to a Clebsch-Gordan product that mixes channels, with the weights
    of `linear_path_weights`.

    Source:
        S. Passaro and C. L. Zitnick, ICML 2023 (arXiv:2302.03655), where W^s is always
        present; with it the convolution does not commute with reflections.
    """

    lmax_in: int
    """Highest degree of node features."""
    lmax_out: int
    """Highest degree of messages."""
    mmax: int | None = None
    """Highest order |m| that is retained, which changes the result; all by default."""
    symmetry: Symmetry = "O(3)"
    """"O(3)" has no W^s and is equivariant under reflections."""

    def __post_init__(self) -> None:
        """Raise for negative degrees and orders."""
        for name in ("lmax_in", "lmax_out", "mmax"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")

    @property
    def orders(self) -> range:
        """Range of the retained :math:`|m|`."""
        lmax = min(self.lmax_in, self.lmax_out)
        return range(1 + (lmax if self.mmax is None else min(lmax, self.mmax)))

    @property
    def num_radial(self) -> int:
        """Number of radial weights per edge and channel: l >= m for each |m|."""
        return sum(self.lmax_in + 1 - order for order in self.orders)

    @property
    def product(self) -> TensorProductSpec:
        """Clebsch-Gordan product whose paths span these convolutions."""
        return TensorProductSpec(
            self.lmax_in,
            self.lmax_in + self.lmax_out,
            self.lmax_out,
            symmetry=self.symmetry,
        )

    def mixing_shapes(
        self, channels_in: int, channels_out: int
    ) -> tuple[tuple[int, int, int], ...]:
        """Shapes of the matrices W for each |m|.

        The dimensions are the parts (W^c, then W^s if present), (l_in, channel) and
        (l_out, channel), with degrees from |m| on.
        """
        return tuple(
            (
                2 if self.symmetry == "SO(3)" and order else 1,
                (self.lmax_in + 1 - order) * channels_in,
                (self.lmax_out + 1 - order) * channels_out,
            )
            for order in self.orders
        )


def random_mixing(
    spec: LinearSpec,
    channels_in: int,
    channels_out: int,
    generator: torch.Generator | None = None,
) -> list[Float[Tensor, "_parts _in _out"]]:
    """Random matrices that map unit-variance features to unit-variance messages."""
    return [
        torch.randn(shape, generator=generator) / (shape[0] * shape[1]) ** 0.5
        for shape in spec.mixing_shapes(channels_in, channels_out)
    ]


class LinearEdges(NamedTuple):
    """Wigner matrices of the edges, with rows sorted by :math:`|m|`."""

    inward: Float[Tensor, "edges components_in sph_in"]
    outward: Float[Tensor, "edges components_out sph_out"]
    """Its transpose rotates messages back to space."""
    connectivity: Connectivity


@final
class SO2Linear(nn.Module):
    """Rotate features into edge frames, map them per :math:`|m|`, rotate back.

    As for a tensor-product backend, the edge state is prepared once for all layers, and
    the module holds constants only. The mixing matrices are arguments of `forward`;
    their layout is defined by `LinearSpec`, independent of the implementation.
    """

    def __init__(self, spec: LinearSpec) -> None:
        super().__init__()
        self.spec = spec
        mmax = spec.orders[-1]
        self._inward, self._outward = (
            WignerRows(components_by_order(lmax, mmax), slice(0, num_components(lmax)))
            for lmax in (spec.lmax_in, spec.lmax_out)
        )

    def prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> LinearEdges:
        """Wigner matrices of the edge frames, shared by layers with equal spec.

        Args:
            directions: Unit vectors of the edges.
            connectivity: Senders and receivers of the same edges, in any order.
        """
        frames = edge_frames(max(self.spec.lmax_in, self.spec.lmax_out), directions)
        return LinearEdges(self._inward(frames), self._outward(frames), connectivity)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels_in"],
        edges: LinearEdges,
        radial: Float[Tensor, "edges num_radial channels_in"],
        mixing: Sequence[Float[Tensor, "_parts _in _out"]],
    ) -> Float[Tensor, "nodes sph_out channels_out"]:
        """Sum the messages over the incoming edges of each node.

        Args:
            x: Node features.
            edges: Result of `prepare` for these edges.
            radial: Weights of each edge: for each |m|, those of the degrees l >= |m|.
            mixing: Matrices of each |m|, of the shapes in `LinearSpec.mixing_shapes`.

        Raises:
            ValueError: If the matrices do not have these shapes.
        """
        _check_mixing(self.spec, x.shape[2], mixing)
        senders, receivers = edges.connectivity.edge_index
        turned = edges.inward @ x.index_select(0, senders)
        mapped = [
            _mix(block, r, w)
            for block, r, w in zip(
                turned.split(self._rows(self.spec.lmax_in), 1),
                radial.split([self.spec.lmax_in + 1 - m for m in self.spec.orders], 1),
                mixing,
                strict=True,
            )
        ]
        messages = edges.outward.mT @ torch.cat(
            [
                block.unflatten(2, (self.spec.lmax_out + 1 - m, -1)).flatten(1, 2)
                for m, block in enumerate(mapped)
            ],
            dim=1,
        )
        return scatter_sum(messages, receivers, len(x))

    def _rows(self, lmax: int) -> list[int]:
        """Number of components of each |m|."""
        return [(2 if m else 1) * (lmax + 1 - m) for m in self.spec.orders]


def linear_path_weights(
    spec: LinearSpec,
    radial: Float[Tensor, "edges num_radial channels_in"],
    mixing: Sequence[Float[Tensor, "_parts _in _out"]],
) -> Float[Tensor, "edges paths channels_in channels_out"]:
    """Path weights of `LinearSpec.product` that give the linear convolution.

    Args:
        spec: Specification of the convolution.
        radial: Radial weights, as in `SO2Linear.forward`.
        mixing: Mixing matrices, as in `SO2Linear.forward`.

    Returns:
        Weights of all paths for every edge and pair of channels.
    """
    radial_of_order = radial.split([spec.lmax_in + 1 - m for m in spec.orders], 1)
    matrices = [
        w.unflatten(2, (spec.lmax_out + 1 - m, -1)).unflatten(1, (-1, radial.shape[2]))
        for m, w in enumerate(mixing)
    ]
    in_frame = []
    for l_in, l_out, order, swaps in so2_weights(spec.product):
        if order in spec.orders:
            matrix = matrices[order][int(swaps), l_in - order, :, l_out - order]
            in_frame.append(radial_of_order[order][:, l_in - order, :, None] * matrix)
        else:
            in_frame.append(torch.zeros_like(in_frame[0]))
    to_paths = so2_to_paths(spec.product).to(radial)
    return torch.einsum("pw,ewio->epio", to_paths, torch.stack(in_frame, dim=1))


def _check_mixing(spec: LinearSpec, channels_in: int, mixing: Sequence[Tensor]) -> None:
    found = tuple(tuple(w.shape) for w in mixing)
    channels_out = found[0][-1] // (spec.lmax_out + 1) if found else 1
    expected = spec.mixing_shapes(channels_in, channels_out)
    if found != expected:
        raise ValueError(
            f"the mixing matrices of {spec} for {channels_in} channels must have the "
            f"shapes {expected}, got {found}; LinearSpec.mixing_shapes gives them"
        )


def _mix(
    block: Float[Tensor, "edges components channels"],
    radial: Float[Tensor, "edges degrees channels"],
    mixing: Float[Tensor, "parts degrees_channels_in degrees_channels_out"],
) -> Float[Tensor, "edges signs degrees_channels_out"]:
    """Map the components of one |m|, those of +m before those of -m."""
    weighted = block.unflatten(1, (-1, radial.shape[1])) * radial[:, None]
    flat = weighted.flatten(2)
    kept = flat @ mixing[0]
    if len(mixing) == 1:
        return kept
    plus, minus = (flat @ mixing[1]).unbind(1)
    return kept + torch.stack([-minus, plus], dim=1)
