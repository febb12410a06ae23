"""Convolutions of equipot, e3nn, cuEquivariance and OpenEquivariance.

Peers are called as their documentation does it, in the layout of features that they
prefer; conversions from and to ours are not timed. All are on the device of the edges.
"""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import e3nn
import torch
from e3nn import o3
from torch import Tensor

from equipot.bench.graphs import Edges
from equipot.bench.steps import bind
from equipot.bench.variants import Variant
from equipot.so3 import degree_slice
from equipot.tensor_products import (
    BACKENDS,
    TensorProduct,
    TensorProductSpec,
    unavailable,
)
from equipot.tensor_products.fused import Fused, fastest, unsupported_in_frames

E3NN = "e3nn"
"""Name of the variant with which the others are compared."""


def variants(spec: TensorProductSpec, edges: Edges, channels: int) -> Iterator[Variant]:
    """All that are installed, and the spherical grid for the same degrees.

    Args:
        spec: Product with weights per path that are summed.
        edges: Sorted by receiver.
        channels: Number of channels per degree.
    """
    yield from ours(spec, edges, channels)
    if unavailable("fused", edges.directions.device) is None:
        double = next(_fused(spec, edges, channels, torch.float64))
        yield replace(double, name="fused float64")
    yield e3nn_variant(spec, edges, channels)
    if find_spec("openequivariance") is not None and edges.directions.is_cuda:
        yield openequivariance(spec, edges, channels)
    degrees = (spec.lmax_in, spec.lmax_filter, spec.lmax_out)
    gaunt = TensorProductSpec(*degrees, weighting="per_degree")
    yield from (v for v in ours(gaunt, edges, channels) if v.name == "spherical_grid")


def ours(spec: TensorProductSpec, edges: Edges, channels: int) -> Iterator[Variant]:
    """Our backends that can compute a product here; "fused" is its faster algorithm."""
    device, dtype = edges.directions.device, torch.float32
    for name, backend in BACKENDS.items():
        if unavailable(name, device) or backend.unsupported(spec):
            continue
        if name == "fused":
            yield from _fused(spec, edges, channels, dtype)
        elif name == "cuequivariance":
            yield _given_harmonics(name, backend(spec).to(device), edges, dtype)
        else:
            convolution = bind(backend(spec).to(device), edges.connectivity)
            yield Variant(name, spec, convolution)


def _fused(
    spec: TensorProductSpec, edges: Edges, channels: int, dtype: torch.dtype
) -> Iterator[Variant]:
    """The faster algorithm first; in frames only on a CPU."""
    device = edges.directions.device
    by_matrices = Fused(spec, "edge_matrices").to(device)
    given = _given_harmonics("fused", by_matrices, edges, dtype)
    in_frames = None
    if device.type == "cpu" and unsupported_in_frames(spec) is None:
        convolution = bind(Fused(spec, "so2"), edges.connectivity)
        in_frames = Variant("fused", spec, convolution, dtype=dtype)
    if fastest(spec, device, channels) == "so2" and in_frames is not None:
        yield in_frames
        yield replace(given, name="fused edge matrices")
        return
    yield given
    whole = bind(by_matrices, edges.connectivity)
    yield Variant("fused from directions", spec, whole, dtype=dtype)
    if in_frames is not None:
        yield replace(in_frames, name="fused in frames")


def _given_harmonics(
    name: str, product: TensorProduct[Any], edges: Edges, dtype: torch.dtype
) -> Variant:
    """`Fused` by edge matrices or `CuEquivariance`, with the harmonics as operand."""
    state = product.prepare(edges.directions.to(dtype), edges.connectivity)
    lmax = product.spec.lmax_filter

    def convolution(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        if isinstance(product, Fused):
            return product(x, state.given(lmax, y), w)
        return product(x, state._replace(harmonics=y), w)

    return Variant(name, product.spec, convolution, True, dtype=dtype)


def e3nn_variant(spec: TensorProductSpec, edges: Edges, channels: int) -> Variant:
    """e3nn's `TensorProduct` between a gather and `index_add`."""
    product = e3nn_product(spec, channels).to(edges.directions.device)
    senders, receivers = edges.connectivity.edge_index
    nodes, width = edges.connectivity.num_nodes, product.irreps_out.dim

    def convolution(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        messages = product(x.index_select(0, senders), y, w.flatten(1))
        return messages.new_zeros(nodes, width).index_add(0, receivers, messages)

    return Variant(
        E3NN,
        spec,
        convolution,
        takes_harmonics=True,
        to_own=lambda x: _to_mul_ir(x, spec.lmax_in),
        from_own=lambda z: _from_mul_ir(z, spec.lmax_out, channels),
    )


def e3nn_product(spec: TensorProductSpec, channels: int) -> o3.TensorProduct:
    """e3nn's product with the paths and the normalization of a spec, in float32.

    Args:
        spec: Product with weights per path, which follow the order of `spec.paths`.
        channels: Multiplicity of each irrep.
    """

    def irreps(lmax: int, copies: int) -> o3.Irreps:
        # without parity there are couplings of odd sums as well
        sign = 1 if spec.symmetry == "SO(3)" else -1
        return o3.Irreps([(copies, (n, sign**n)) for n in range(lmax + 1)])

    defaults = e3nn.get_optimization_defaults()
    e3nn.set_optimization_defaults(jit_mode="eager")
    try:
        return o3.TensorProduct(
            irreps(spec.lmax_in, channels),
            irreps(spec.lmax_filter, 1),
            irreps(spec.lmax_out, channels),
            [(p.l_in, p.l_filter, p.l_out, "uvu", True) for p in spec.paths],
            shared_weights=False,
            internal_weights=False,
        )
    finally:
        e3nn.set_optimization_defaults(**defaults)


def openequivariance(spec: TensorProductSpec, edges: Edges, channels: int) -> Variant:
    """Its deterministic convolution, which needs edges sorted by receiver, as ours."""
    import openequivariance as oeq  # noqa: PLC0415 - optional, and compiles

    product = e3nn_product(spec, channels)
    number = oeq.torch_to_oeq_dtype(torch.float32)
    irreps = (product.irreps_in1, product.irreps_in2, product.irreps_out)
    problem = oeq.TPProblem(
        *(oeq.Irreps(str(own)) for own in irreps),
        [(i.i_in1, i.i_in2, i.i_out, "uvu", True) for i in product.instructions],
        shared_weights=False,
        internal_weights=False,
        irrep_dtype=number,
        weight_dtype=number,
    )
    operation = oeq.TensorProductConv(problem, deterministic=True)
    senders, receivers = edges.connectivity.edge_index
    order = edges.connectivity.by_sender.order

    def convolution(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return operation(x, y, w.flatten(1), receivers, senders, order)

    like_e3nn = e3nn_variant(spec, edges, channels)
    return replace(like_e3nn, name="openequivariance", convolution=convolution)


def _to_mul_ir(x: Tensor, lmax: int) -> Tensor:
    blocks = [x[:, degree_slice(n)].mT.flatten(1) for n in range(lmax + 1)]
    return torch.cat(blocks, dim=1)


def _from_mul_ir(z: Tensor, lmax: int, channels: int) -> Tensor:
    sizes = [channels * (2 * degree + 1) for degree in range(lmax + 1)]
    blocks = [b.unflatten(1, (channels, -1)).mT for b in z.split(sizes, dim=1)]
    return torch.cat(blocks, dim=1)
