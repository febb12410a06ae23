"""Operands of other shapes are refused by every product, with what was expected."""

import pytest
import torch

from equipot.graph.connectivity import Connectivity
from equipot.node_products import NODE_PRODUCTS, NodeProductSpec
from equipot.tensor_products import BACKENDS, TensorProductSpec, unavailable

SPEC = TensorProductSpec(2, 1, 1)
GAUNT = TensorProductSpec(2, 1, 1, weighting="per_degree")
CPU = torch.device("cpu")
NODES, EDGES, CHANNELS = 4, 6, 3


def built():
    for name, backend in BACKENDS.items():
        for spec in (SPEC, GAUNT):
            if unavailable(name, CPU) is None and backend.unsupported(spec) is None:
                yield pytest.param(backend(spec), id=f"{name}-{spec.weighting}")


@pytest.mark.parametrize("product", list(built()))
@pytest.mark.parametrize(
    ("features", "weights"),
    [
        ((0, 1, 0), (0, 0, 0)),  # another degree
        ((0, 0, 0), (0, 1, 0)),  # weights of other paths
        ((0, 0, 0), (1, 0, 0)),  # another number of edges
        ((0, 0, 1), (0, 0, 0)),  # channels that differ
        ((0, 0, 0), (1 - EDGES, 0, 0)),  # one edge, which would be broadcast
        ((0, 0, 0), (0, 0, 1 - CHANNELS)),  # one channel, likewise
        ((0, 0), (0, 0, 0)),
        ((0, 0, 0), (0,)),
    ],
)
def test_other_shapes_are_refused_with_those_expected(product, features, weights):
    right = ((NODES, 9, CHANNELS), (EDGES, product.spec.num_weights, CHANNELS))
    edge_index = torch.tensor([[0, 1, 2, 3, 0, 1], [1, 0, 3, 2, 2, 3]])
    edges = product.prepare(
        torch.nn.functional.normalize(torch.randn(EDGES, 3), dim=1),
        Connectivity(edge_index, NODES),
    )
    operands = [
        torch.randn([n + change for n, change in zip(shape, changes, strict=False)])
        for shape, changes in zip(right, (features, weights), strict=True)
    ]

    with pytest.raises(
        ValueError, match=r"features of shape \(nodes, 9, channels\)"
    ) as e:
        product(operands[0], edges, operands[1])

    assert f"weights of shape (6 edges, {product.spec.num_weights}, ch" in str(e.value)
    assert f"got {tuple(operands[0].shape)} and {tuple(operands[1].shape)}" in str(
        e.value
    )


@pytest.mark.parametrize("name", NODE_PRODUCTS)
@pytest.mark.parametrize("shape", [(5, 9, 2), (5, 1, 2)])
def test_node_products_name_what_they_expect(name, shape):
    spec = NodeProductSpec(lmax_in=1, lmax_out=1, order=2)
    if NODE_PRODUCTS[name].unsupported(spec) is not None:
        spec = NodeProductSpec(lmax_in=1, lmax_out=1, order=2, weighting="per_degree")
    product = NODE_PRODUCTS[name](spec)

    with pytest.raises(ValueError, match=r"shape \(nodes, 4, channels\)"):
        product.forward(torch.randn(shape), torch.randn(5, spec.num_weights, 2))
