"""Everyone who computes a convolution on a GPU: our backends and their peers.

Peers are called as their documentation does it, in the layout of features that they
prefer; conversions from and to ours are not part of what is timed.
"""

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec

import torch
from tensor_product_peers import (
    Variant,
    e3nn_product,
    e3nn_variants,
    given_harmonics,
)
from torch import Tensor

from equipot.bench.graphs import Edges
from equipot.graph.connectivity import Connectivity
from equipot.tensor_products import TensorProductSpec, get_backend, unavailable


def variants(
    spec: TensorProductSpec, edges: Edges, channels: int, dtype: torch.dtype
) -> Iterator[Variant]:
    """All that are installed, on the device that the edges are on.

    Args:
        spec: Product with weights per path that are summed.
        edges: Sorted by receiver.
        channels: Copies of each degree.
        dtype: Arithmetic.
    """
    for name in ("fused", "cuequivariance"):
        if unavailable(name, edges.directions.device) is None:
            yield given_harmonics(name, get_backend(name)(spec), edges, dtype)
    yield _e3nn(spec, edges, channels, dtype)
    if find_spec("openequivariance") is not None and edges.directions.is_cuda:
        yield _openequivariance(spec, edges, channels, dtype)


def missing(device: torch.device) -> dict[str, str]:
    """Who cannot be measured, and why."""
    reasons = {
        name: reason
        for name in ("fused", "cuequivariance")
        if (reason := unavailable(name, device)) is not None
    }
    if find_spec("openequivariance") is None:
        reasons["openequivariance"] = (
            "not installed: pip install openequivariance (it compiles an extension)"
        )
    return reasons


def on_device(edges: Edges, device: torch.device) -> Edges:
    """The same edges on another device."""
    connectivity = edges.connectivity
    return Edges(
        edges.directions.to(device),
        Connectivity(connectivity.edge_index.to(device), connectivity.num_nodes),
    )


def _e3nn(
    spec: TensorProductSpec, edges: Edges, channels: int, dtype: torch.dtype
) -> Variant:
    (on_cpu,) = e3nn_variants(spec, edges, channels, dtype)
    product = e3nn_product(spec, channels, dtype).to(edges.directions.device)
    senders, receivers = edges.connectivity.edge_index
    nodes, width = edges.connectivity.num_nodes, product.irreps_out.dim

    def convolution(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        messages = product(x.index_select(0, senders), y, w.flatten(1))
        return messages.new_zeros(nodes, width).index_add(0, receivers, messages)

    return replace(on_cpu, convolution=convolution)


def _openequivariance(
    spec: TensorProductSpec, edges: Edges, channels: int, dtype: torch.dtype
) -> Variant:
    """Its deterministic convolution, which needs edges sorted by receiver, as ours."""
    import openequivariance as oeq  # noqa: PLC0415 - optional, and compiles

    like_e3nn = _e3nn(spec, edges, channels, dtype)
    product = e3nn_product(spec, channels, dtype)
    number = oeq.torch_to_oeq_dtype(dtype)
    problem = oeq.TPProblem(
        *(
            oeq.Irreps(str(irreps))
            for irreps in (product.irreps_in1, product.irreps_in2, product.irreps_out)
        ),
        [(i.i_in1, i.i_in2, i.i_out, "uvu", True) for i in product.instructions],
        shared_weights=False,
        internal_weights=False,
        irrep_dtype=number,
        weight_dtype=number,
    )
    operation = oeq.TensorProductConv(problem, deterministic=True)
    senders, receivers = edges.connectivity.edge_index.contiguous()
    order = edges.connectivity.by_sender.order

    def convolution(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return operation(x, y, w.flatten(1), receivers, senders, order)

    return replace(like_e3nn, name="openequivariance", convolution=convolution)
