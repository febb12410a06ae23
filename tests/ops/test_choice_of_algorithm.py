"""The fused backend takes the faster algorithm, and says what one cannot compute."""

import pytest
import torch

from equipot.connectivity import Connectivity
from equipot.ops import unavailable
from equipot.ops.so2_convolution import EdgeFrames
from equipot.tensor_products import TensorProductSpec, UnsupportedSpecError
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
        (TensorProductSpec(6, 6, 6, symmetry="SO(3)"), "so2"),
        (TensorProductSpec(4, 4, 4, weighting="per_degree"), "so2"),
        (TensorProductSpec(3, 3, 3, accumulate="concat"), "edge_matrices"),
        (TensorProductSpec(7, 7, 7), "edge_matrices"),
    ],
)
def test_high_degrees_are_computed_in_frames(spec, algorithm):
    assert fastest(spec, CPU) == algorithm


def test_only_cpus_have_kernels_in_frames():
    spec = TensorProductSpec(6, 6, 6)

    assert fastest(spec, torch.device("cuda")) == "edge_matrices"


@needs_kernels
@pytest.mark.parametrize("algorithm", [None, "so2", "edge_matrices"])
def test_algorithm_asked_for_is_taken(algorithm):
    spec = TensorProductSpec(3, 3, 3)
    directions = torch.eye(3)
    connectivity = Connectivity(torch.zeros(2, 3, dtype=torch.int64), 1)

    edges = Fused(spec, algorithm).prepare(directions, connectivity)

    expected = algorithm or fastest(spec, CPU)
    assert isinstance(edges.geometry, EdgeFrames) == (expected == "so2")


@needs_kernels
@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (
            TensorProductSpec(2, 2, 2, accumulate="concat"),
            "paths to a degree are summed",
        ),
        (TensorProductSpec(7, 1, 7), "end at degree 6"),
    ],
)
def test_frames_refuse_what_they_cannot_compute(spec, reason):
    with pytest.raises(UnsupportedSpecError, match=reason):
        Fused(spec, "so2")
