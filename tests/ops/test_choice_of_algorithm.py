"""The fused backend takes the faster algorithm, and says what one cannot compute."""

import pytest
import torch

from equipot.graph.connectivity import Connectivity
from equipot.ops import unavailable
from equipot.tensor_products import TensorProductSpec, UnsupportedSpecError, fused
from equipot.tensor_products.fused import Fused, fastest

CPU = torch.device("cpu")

needs_kernels = pytest.mark.skipif(
    unavailable(CPU) is not None, reason="compiled ops are not built"
)


@pytest.mark.parametrize(
    ("spec", "algorithm"),
    [
        (TensorProductSpec(1, 1, 1), "edge_matrices"),
        (TensorProductSpec(0, 3, 3), "edge_matrices"),
        (TensorProductSpec(6, 6, 0), "edge_matrices"),
        (TensorProductSpec(3, 3, 3), "so2"),
        (TensorProductSpec(4, 4, 4), "so2"),
        (TensorProductSpec(6, 6, 6, symmetry="SO(3)"), "so2"),
        (TensorProductSpec(4, 4, 4, weighting="per_degree"), "so2"),
        (TensorProductSpec(3, 3, 3, accumulate="concat"), "edge_matrices"),
        (TensorProductSpec(7, 7, 7), "edge_matrices"),
    ],
)
def test_high_degrees_are_computed_in_frames(spec, algorithm):
    assert fastest(spec, CPU, 64) == algorithm


def test_at_degree_3_the_number_of_channels_decides():
    assert fastest(TensorProductSpec(3, 3, 3), CPU, 128) == "edge_matrices"
    assert fastest(TensorProductSpec(4, 4, 4), CPU, 128) == "so2"


def test_only_cpus_have_kernels_in_frames():
    spec = TensorProductSpec(6, 6, 6)

    assert fastest(spec, torch.device("cuda"), 64) == "edge_matrices"


def recorded(function, name, calls):
    def call(*arguments):
        calls.append(name)
        return function(*arguments)

    return call


@needs_kernels
@pytest.mark.parametrize("algorithm", [None, "so2", "edge_matrices"])
def test_algorithm_asked_for_is_taken(algorithm, monkeypatch):
    spec = TensorProductSpec(3, 3, 3)
    product = Fused(spec, algorithm)
    taken = []
    for name in ("convolve", "so2_convolve"):
        monkeypatch.setattr(fused, name, recorded(getattr(fused, name), name, taken))
    edges = product.prepare(
        torch.eye(3), Connectivity(torch.zeros(2, 3, dtype=torch.int64), 1)
    )

    product(torch.zeros(1, 16, 64), edges, torch.zeros(3, spec.num_weights, 64))

    expected = algorithm or fastest(spec, CPU, 64)
    assert taken == ["so2_convolve" if expected == "so2" else "convolve"]


@needs_kernels
@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (
            TensorProductSpec(2, 2, 2, accumulate="concat"),
            "sums the paths to each output degree",
        ),
        (TensorProductSpec(7, 1, 7), "support degrees up to 6"),
    ],
)
def test_frames_refuse_what_they_cannot_compute(spec, reason):
    with pytest.raises(UnsupportedSpecError, match=reason):
        Fused(spec, "so2")


@needs_kernels
@pytest.mark.parametrize("algorithm", ["so2", "edge_matrices"])
def test_a_call_without_gradients_takes_none_from_the_next(algorithm):
    spec = TensorProductSpec(2, 2, 2)
    product = Fused(spec, algorithm)
    connectivity = Connectivity(torch.tensor([[0, 1], [1, 0]]), 2)
    directions = torch.nn.functional.normalize(torch.randn(2, 3).double())
    x = torch.randn(2, 9, 3).double()
    weights = torch.randn(2, spec.num_weights, 3).double()

    def gradient(before):
        leaf = directions.clone().requires_grad_()
        edges = product.prepare(leaf, connectivity)
        if before:
            with torch.no_grad():
                product(x, edges, weights)
        return torch.autograd.grad(product(x, edges, weights).square().sum(), leaf)[0]

    assert torch.equal(gradient(before=True), gradient(before=False))
    assert gradient(before=True).abs().max() > 0
