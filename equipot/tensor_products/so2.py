"""Clebsch-Gordan product in the frame of each edge, where it is diagonal in |m|."""

from typing import NamedTuple, final

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from equipot.constants import Constant
from equipot.graph.connectivity import Connectivity
from equipot.graph.scatter import scatter_sum
from equipot.so3 import degree_slice, num_components
from equipot.so3.edge_frame import Component, WignerRows, edge_frames
from equipot.tensor_products.base import TensorProduct
from equipot.tensor_products.so2_weights import SO2Weight, paths_to_so2, so2_weights
from equipot.tensor_products.spec import TensorProductSpec
from equipot.tensor_products.weights import path_weights


class SO2Edges(NamedTuple):
    """Wigner matrices of the edges in the component order of the product."""

    inward: Float[Tensor, "edges components sph_in"]
    """Rotation of features into the frame."""
    outward: tuple[tuple[Float[Tensor, "edges _orders _components"], ...], ...]
    """Rotation of weighted components to each degree of the messages, by term."""
    connectivity: Connectivity


@final
class SO2(TensorProduct[SO2Edges]):
    r"""Rotate features into edge frames, map them per :math:`|m|`, rotate back.

    .. math:: z^{l_3} = D^{l_3}(R)^T \sum_{l_1} W_{l_3 l_1} D^{l_1}(R) \, x^{l_1},
              \qquad R n = y

    where the matrices W conserve :math:`|m|`: with symmetry "O(3)" they are real and
    diagonal, with "SO(3)" they also couple m and -m. Their elements are `so2_weights`.
    The result is exactly the Clebsch-Gordan product, at a cost per channel of
    :math:`O(L^3)` instead of :math:`O(L^5)`.

    A message of degree :math:`l_3` needs components of :math:`|m| \le l_3` only. Sorted
    by :math:`|m|` these are a leading slice, which is multiplied by the weights of that
    degree. The sum over :math:`l_1` is part of the rotation back.
    """

    def __init__(self, spec: TensorProductSpec) -> None:
        super().__init__(spec)
        components = components_by_order(spec.lmax_in, min(spec.lmax_in, spec.lmax_out))
        self._inward = WignerRows(components, slice(0, num_components(spec.lmax_in)))
        self._terms_of_degree = [
            _terms(spec, components, degree) for degree in range(spec.lmax_out + 1)
        ]
        self._paths_to_degree = [
            sum(path.l_out == degree for path in spec.paths)
            for degree in range(spec.lmax_out + 1)
        ]

    @staticmethod
    def unsupported(spec: TensorProductSpec) -> str | None:
        """Reject separate paths: in the frame of the edge they are already summed."""
        if spec.accumulate == "concat":
            return (
                "in the frame of an edge the paths between two degrees are combined to "
                "their sum; choose accumulate='sum'"
            )
        return None

    def prepare(
        self, directions: Float[Tensor, "edges 3"], connectivity: Connectivity
    ) -> SO2Edges:
        """Wigner matrices of the frames of the edges."""
        frames = edge_frames(max(self.spec.lmax_in, self.spec.lmax_out), directions)
        outward = tuple(
            tuple(term.outward(frames).mT for term in terms)
            for terms in self._terms_of_degree
        )
        return SO2Edges(self._inward(frames), outward, connectivity)

    def forward(
        self,
        x: Float[Tensor, "nodes sph_in channels"],
        edges: SO2Edges,
        weights: Float[Tensor, "edges num_weights channels"],
    ) -> Float[Tensor, "nodes sph_out channels"]:
        """Sum the weighted products over the incoming edges of each node."""
        senders, receivers = edges.connectivity.edge_index
        turned = edges.inward @ x.index_select(0, senders)
        by_degree = path_weights(self.spec, weights).split(self._paths_to_degree, 1)
        received = []
        for terms, outward, w in zip(
            self._terms_of_degree, edges.outward, by_degree, strict=True
        ):
            first, *others = (
                back @ (term.weights(w) * turned[:, term.components])
                for term, back in zip(terms, outward, strict=True)
            )
            received.append(scatter_sum(sum(others, first), receivers, len(x)))
        return torch.cat(received, dim=1)


@final
class _Term:
    """Part of the messages of one degree: W^c, or W^s, times components.

    Args:
        outward: Transposed rotation of the product back to space.
        components: Slice of the components that enter.
        weights: Map from the weights of the paths to that degree to weights of the
            components.
    """

    def __init__(
        self,
        outward: WignerRows,
        components: slice,
        weights: Float64[Tensor, "components paths"],
    ) -> None:
        self.outward = outward
        self.components = components
        self._weights = Constant(weights)

    def weights(
        self, of_paths: Float[Tensor, "edges paths channels"]
    ) -> Float[Tensor, "edges components channels"]:
        """Weights of the components."""
        matrix = self._weights.like(of_paths)
        # For all edges at once: torch would copy a single matrix for each edge.
        return matrix.expand(len(of_paths), -1, -1) @ of_paths


def components_by_order(lmax: int, mmax: int) -> list[Component]:
    """Components of :math:`|m|` up to `mmax`, in order of |m|, then +m before -m."""
    return [
        Component(degree, sign * order)
        for order in range(mmax + 1)
        for sign in ([1, -1] if order else [1])
        for degree in range(order, lmax + 1)
    ]


def _terms(
    spec: TensorProductSpec, components: list[Component], degree: int
) -> list[_Term]:
    """Terms of the messages of a degree."""
    reached = sum(abs(order) <= degree for _, order in components)
    terms = [_term(spec, components, slice(0, reached), degree, swaps=False)]
    first_odd = spec.lmax_in + 1  # after the components of m = 0
    if spec.symmetry == "SO(3)" and first_odd < reached:
        odd = slice(first_odd, reached)
        terms.append(_term(spec, components, odd, degree, swaps=True))
    return terms


def _term(
    spec: TensorProductSpec,
    components: list[Component],
    chosen: slice,
    degree: int,
    *,
    swaps: bool,
) -> _Term:
    """Term that conserves m, or swaps m and -m."""
    paths = [n for n, path in enumerate(spec.paths) if path.l_out == degree]
    of_paths = paths_to_so2(spec)[:, paths]
    row = {weight: n for n, weight in enumerate(so2_weights(spec))}
    weights = of_paths.new_empty(len(components[chosen]), len(paths))
    sources = []
    for n, (l_in, m) in enumerate(components[chosen]):
        sign = -1 if swaps and m < 0 else 1
        weights[n] = sign * of_paths[row[SO2Weight(l_in, degree, abs(m), swaps)]]
        sources.append(Component(degree, -m if swaps else m))
    return _Term(WignerRows(sources, degree_slice(degree)), chosen, weights)
