"""Edges in blocks give what all edges at once give."""

import pytest
import torch

from equipot.graph.connectivity import Connectivity
from equipot.so3 import num_components
from equipot.tensor_products import BACKENDS, TensorProductSpec, blocks
from equipot.tensor_products.blocks import in_blocks

NODES = 4


def test_blocks_cover_every_edge_once_and_in_order(monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 48)
    seen = []

    def function(a, b):
        seen.append(len(a))
        return a + b, a[:, None] * b[:, None]

    a, b = torch.arange(10.0), torch.arange(10.0, 20.0)

    total, product = in_blocks(function, [a, b], bytes_per_edge=12)

    assert seen == [4, 4, 2]
    assert torch.equal(total, a + b)
    assert torch.equal(product, (a * b)[:, None])


def test_few_edges_are_one_block():
    operand = torch.ones(3)

    (found,) = in_blocks(lambda a: (a,), [operand], bytes_per_edge=1)

    assert found is operand


@pytest.mark.parametrize("accumulate", ["sum", "concat"])
@pytest.mark.parametrize("edges", [0, 1, 3, 23])
def test_reference_does_not_depend_on_blocks(monkeypatch, generator, accumulate, edges):
    """Neither do its first and second derivatives."""
    backend = BACKENDS["clebsch_gordan"](
        TensorProductSpec(2, 2, 2, accumulate=accumulate)
    )

    def randn(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    inputs = [
        randn(NODES, num_components(2), 5),
        torch.nn.functional.normalize(randn(edges, 3)),
        randn(edges, backend.spec.num_weights, 5),
    ]
    edge_index = torch.randint(0, NODES, (2, edges), generator=generator)
    connectivity = Connectivity(edge_index, NODES)

    def evaluate():
        x, directions, weights = (t.clone().requires_grad_() for t in inputs)
        out = backend(x, backend.prepare(directions, connectivity), weights)
        first = torch.autograd.grad(
            out.pow(2).sum(), [x, directions, weights], create_graph=True
        )
        second = torch.autograd.grad(
            sum(g.pow(2).sum() for g in first), [x, directions, weights]
        )
        return [out, *first, *second]

    whole = evaluate()
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 4 * 2 * 20 * 5 * 8)  # about four edges
    parts = evaluate()

    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)
