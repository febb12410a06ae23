"""Everyone who computes a convolution: our backends, e3nn and cuEquivariance.

Peers are called as their documentation does it, in the layout of features that they
prefer; conversions from and to ours are not part of what is timed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import e3nn
import torch
from e3nn import o3
from torch import Tensor

from equipot.bench.graphs import Edges
from equipot.bench.steps import Convolution, bind
from equipot.so3 import degree_slice
from equipot.tensor_products import (
    BACKENDS,
    TensorProduct,
    TensorProductSpec,
    unavailable,
)
from equipot.tensor_products.fused import Fused, fastest, unsupported_in_frames


@dataclass(frozen=True)
class Variant:
    """One way to compute a convolution."""

    name: str
    """In tables."""
    spec: TensorProductSpec
    """What it computes."""
    convolution: Convolution
    """From features, harmonics or directions, and weights, in its own layout."""
    takes_harmonics: bool
    """Whether it is given harmonics; else it computes what it needs from directions."""
    to_own: Callable[[Tensor], Tensor] = lambda tensor: tensor
    """Our features in its layout."""
    from_own: Callable[[Tensor], Tensor] = lambda tensor: tensor
    """Its messages in our layout."""
    differentiates_twice: bool = True
    """Whether the training on forces works."""


def ours(
    spec: TensorProductSpec, edges: Edges, channels: int, dtype: torch.dtype
) -> Iterator[Variant]:
    """Our backends that can compute a product here.

    "fused" stands for its faster algorithm; given harmonics, if it takes them.
    """
    device = torch.device("cpu")
    for name, backend in BACKENDS.items():
        if unavailable(name, device) or backend.unsupported(spec):
            continue
        if name == "fused":
            yield from _fused(spec, edges, channels, dtype)
        elif name == "cuequivariance":
            yield given_harmonics(name, backend(spec), edges, dtype)
        else:
            yield Variant(name, spec, bind(backend(spec), edges.connectivity), False)


def _fused(
    spec: TensorProductSpec, edges: Edges, channels: int, dtype: torch.dtype
) -> Iterator[Variant]:
    """Both algorithms."""
    default = fastest(spec, torch.device("cpu"), channels)
    in_frames = Fused(spec, "so2") if unsupported_in_frames(spec) is None else None
    by_matrices = Fused(spec, "edge_matrices")
    name = "fused" if default == "edge_matrices" else "fused edge matrices"
    yield given_harmonics(name, by_matrices, edges, dtype)
    if default == "edge_matrices":
        whole = bind(by_matrices, edges.connectivity)
        yield Variant("fused from directions", spec, whole, False)
    if in_frames is not None:
        name = "fused" if default == "so2" else "fused in frames"
        yield Variant(name, spec, bind(in_frames, edges.connectivity), False)


def given_harmonics(
    name: str, product: TensorProduct[Any], edges: Edges, dtype: torch.dtype
) -> Variant:
    """A backend that takes harmonics of the edges, ready to be given them.

    Args:
        name: In tables.
        product: `Fused` by edge matrices, or `CuEquivariance`.
        edges: Who sends to whom.
        dtype: Arithmetic.
    """
    state = product.prepare(edges.directions.to(dtype), edges.connectivity)
    lmax = product.spec.lmax_filter

    def convolution(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        if isinstance(product, Fused):
            return product(x, state.given(lmax, y), w)
        return product(x, state._replace(harmonics=y), w)

    return Variant(name, product.spec, convolution, True)


def e3nn_variants(
    spec: TensorProductSpec,
    edges: Edges,
    channels: int,
    dtype: torch.dtype,
    *,
    compiled: bool = False,
) -> Iterator[Variant]:
    """e3nn's `TensorProduct` between a gather and `index_add`.

    Args:
        spec: Product with weights per path.
        edges: Who sends to whom.
        channels: Copies of each degree.
        dtype: Arithmetic; e3nn's constants are made in it.
        compiled: Add the variants that e3nn and PyTorch can compile.
    """
    yield _e3nn("e3nn", spec, edges, channels, dtype, "eager")
    if compiled:
        yield _e3nn("e3nn script", spec, edges, channels, dtype, "script")
        eager = _e3nn("e3nn compile", spec, edges, channels, dtype, "eager")
        yield replace(
            eager,
            convolution=torch.compile(eager.convolution, fullgraph=True),
            differentiates_twice=False,  # PyTorch refuses it, issue 91469
        )


def _e3nn(
    name: str,
    spec: TensorProductSpec,
    edges: Edges,
    channels: int,
    dtype: torch.dtype,
    jit_mode: str,
) -> Variant:
    product = e3nn_product(spec, channels, dtype, jit_mode)
    senders, receivers = edges.connectivity.edge_index
    nodes = edges.connectivity.num_nodes
    width = product.irreps_out.dim

    def convolution(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        messages = product(x.index_select(0, senders), y, w.flatten(1))
        return messages.new_zeros(nodes, width).index_add(0, receivers, messages)

    blocks = [degree for degree in range(spec.lmax_out + 1)]
    if spec.accumulate == "concat":
        blocks = [path.l_out for path in spec.paths]
    return Variant(
        name,
        spec,
        convolution,
        takes_harmonics=True,
        to_own=lambda x: _to_mul_ir(x, spec.lmax_in),
        from_own=lambda z: _from_mul_ir(z, blocks, channels),
    )


def e3nn_product(
    spec: TensorProductSpec, channels: int, dtype: torch.dtype, jit_mode: str = "eager"
) -> o3.TensorProduct:
    """e3nn's product with the paths and the normalization of a spec, channelwise.

    Args:
        spec: Product with weights per path, which follow the order of `spec.paths`.
        channels: Multiplicity of each irrep.
        dtype: Of its constants.
        jit_mode: "eager", its default, or "script".
    """

    def irrep(degree: int) -> tuple[int, tuple[int, int]]:
        # without parity there are couplings of odd sums as well
        parity = 1 if spec.symmetry == "SO(3)" else (-1) ** degree
        return channels, (degree, parity)

    concat = spec.accumulate == "concat"
    outputs = [p.l_out for p in spec.paths] if concat else range(spec.lmax_out + 1)
    before = torch.get_default_dtype()
    defaults = e3nn.get_optimization_defaults()
    torch.set_default_dtype(dtype)
    e3nn.set_optimization_defaults(jit_mode=jit_mode)
    try:
        return o3.TensorProduct(
            o3.Irreps([irrep(degree) for degree in range(spec.lmax_in + 1)]),
            o3.Irreps([(1, irrep(n)[1]) for n in range(spec.lmax_filter + 1)]),
            o3.Irreps([irrep(degree) for degree in outputs]),
            [
                (p.l_in, p.l_filter, n if concat else p.l_out, "uvu", True)
                for n, p in enumerate(spec.paths)
            ],
            shared_weights=False,
            internal_weights=False,
        )
    finally:
        torch.set_default_dtype(before)
        e3nn.set_optimization_defaults(**defaults)


def channelwise_cuequivariance(
    spec: TensorProductSpec, edges: Edges, channels: int, dtype: torch.dtype
) -> Iterator[Variant]:
    """`ChannelWiseTensorProduct` with indices, which keeps paths side by side.

    It cannot sum them: the same operation as ours with ``accumulate="concat"`` only.
    For their sum, our backend `cuequivariance` builds the polynomial.
    """
    if spec.accumulate != "concat" or find_spec("cuequivariance_torch") is None:
        return
    import cuequivariance as cue  # noqa: PLC0415 - optional, and slow to import
    import cuequivariance_torch as cuet  # noqa: PLC0415

    group = "SO3" if spec.symmetry == "SO(3)" else "O3"

    def irreps(lmax: int, copies: int) -> "cue.Irreps":
        names = [
            f"{copies}x{degree}" + ("" if group == "SO3" else "eo"[degree % 2])
            for degree in range(lmax + 1)
        ]
        return cue.Irreps(group, "+".join(names))

    product = cuet.ChannelWiseTensorProduct(
        irreps(spec.lmax_in, channels),
        irreps(spec.lmax_filter, 1),
        irreps(spec.lmax_out, 1),
        layout=cue.ir_mul,
        shared_weights=False,
        internal_weights=False,
        dtype=dtype,
        method="naive",
    )
    senders, receivers = edges.connectivity.edge_index

    def convolution(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return product(
            x.flatten(1),
            y,
            w.flatten(1),
            indices_1=senders,
            indices_out=receivers,
            size_out=edges.connectivity.num_nodes,
        )

    yield Variant(
        "cuequivariance channelwise",
        spec,
        convolution,
        takes_harmonics=True,
        from_own=lambda z: z.unflatten(1, (-1, channels)),
    )


def _to_mul_ir(x: Tensor, lmax: int) -> Tensor:
    blocks = [x[:, degree_slice(n)].mT.flatten(1) for n in range(lmax + 1)]
    return torch.cat(blocks, dim=1)


def _from_mul_ir(z: Tensor, degrees: list[int], channels: int) -> Tensor:
    sizes = [channels * (2 * degree + 1) for degree in degrees]
    blocks = [b.unflatten(1, (channels, -1)).mT for b in z.split(sizes, dim=1)]
    return torch.cat(blocks, dim=1)
