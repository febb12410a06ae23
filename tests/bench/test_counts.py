"""Operations, traffic and memory, against counts by hand and by PyTorch."""

import pytest
import torch

from equipot.bench.graphs import first_edges
from equipot.bench.measured_flops import matrix_flops
from equipot.bench.memory_traffic import moved_bytes
from equipot.bench.operations import operations, so2_operations
from equipot.bench.peak_memory import peak_memory
from equipot.bench.steps import bind
from equipot.tensor_products import BACKENDS, ClebschGordan, TensorProductSpec
from equipot.tensor_products.random_operands import random_operands
from equipot.tensor_products.spherical_grid import SphericalGrid

MIB = 2**20


@pytest.mark.parametrize(
    ("backend", "counts"),
    [
        ("clebsch_gordan", [48, 300, 1076, 3064, 7164, 14952]),
        ("cuequivariance", [38, 284, 1158, 3704, 9178, 20206]),
    ],
)
def test_operations_are_those_counted_by_hand(backend, counts):
    """For lmax 1 to 6; 3 nnz + D3 and 2 D1 D3 + 2 D3 summed over paths."""
    found = [
        operations(backend, TensorProductSpec(lmax, lmax, lmax)) for lmax in range(1, 7)
    ]

    assert [f.count for f in found] == counts


def test_rotation_to_the_edge_takes_fewer_operations_from_degree_two_on():
    counts = [
        so2_operations(TensorProductSpec(lmax, lmax, lmax)) for lmax in range(1, 7)
    ]

    assert counts == [52, 178, 424, 830, 1436, 2282]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("weighting", ["per_path", "per_degree"])
def test_operations_of_every_backend_are_counted(name, weighting):
    spec = TensorProductSpec(2, 2, 2, weighting)

    if BACKENDS[name].unsupported(spec) is None:
        assert operations(name, spec) is not None


def test_operations_of_an_unknown_backend_are_unknown():
    assert operations("warp", TensorProductSpec(1, 1, 1)) is None


@pytest.mark.parametrize("lmax", [1, 3])
def test_products_of_matrices_are_those_that_pytorch_counts(lmax):
    """It counts matrices only: not the weights, but the harmonics to matrices."""
    spec = TensorProductSpec(lmax, lmax, lmax)
    edges, channels = first_edges(50), 8
    x, weights = random_operands(spec, edges.connectivity, channels, torch.Generator())
    product = ClebschGordan(spec)
    state = product.prepare(edges.directions, edges.connectivity)
    weigh = 2 * sum(2 * path.l_out + 1 for path in spec.paths)

    counted = matrix_flops(lambda: product(x, state, weights))

    # zeros between degrees are multiplied as well: a row of T has all components of x
    dense = 2 * (lmax + 1) ** 2 * sum(2 * p.l_out + 1 for p in spec.paths)
    assert counted == 50 * channels * dense
    assert operations("clebsch_gordan", spec).count - weigh <= dense


@pytest.mark.parametrize("symmetry", ["O(3)", "SO(3)"])
@pytest.mark.parametrize("lmax", [1, 3])
def test_transforms_of_the_grid_are_those_that_pytorch_counts(lmax, symmetry):
    spec = TensorProductSpec(lmax, lmax, lmax, "per_degree", symmetry)
    edges, channels, pairs = first_edges(50), 8, 1 if symmetry == "O(3)" else 2
    x, weights = random_operands(spec, edges.connectivity, channels, torch.Generator())
    product = SphericalGrid(spec)
    state = product.prepare(edges.directions, edges.connectivity)
    sph = (lmax + 1) ** 2
    points = pairs * product.num_points
    # repeats weights by matrices of zeros and ones, which is no work of the algorithm
    repeats = pairs * 2 * 2 * sph * (lmax + 1)

    counted = matrix_flops(lambda: product(x, state, weights))

    matrices = counted / (50 * channels) - repeats
    assert operations("spherical_grid", spec).count == (
        matrices + points + pairs * 2 * sph
    )


def test_moved_bytes_are_operands_and_results():
    a, b = torch.zeros(100, 10), torch.zeros(100, 10)

    assert moved_bytes(lambda: a + b) == 3 * 4000
    assert moved_bytes(lambda: a.mT[:5]) == 0
    assert moved_bytes(lambda: a.add_(b)) == 3 * 4000
    assert moved_bytes(lambda: a[:1].expand(100, 10) + b) == 40 + 2 * 4000


def test_gathering_reads_what_it_returns():
    a, rows = torch.zeros(1000, 10), torch.tensor([1, 2])

    assert moved_bytes(lambda: a.index_select(0, rows)) == 2 * 80


def test_moved_bytes_of_derivatives_are_counted():
    a = torch.zeros(100, 10, requires_grad=True)

    forward = moved_bytes(a.exp)
    backward = moved_bytes(lambda: torch.autograd.grad(a.exp().sum(), a))

    assert forward == 2 * 4000
    assert backward > 2 * forward


def test_peak_memory_is_the_most_that_is_held():
    def two_then_one():
        a = torch.empty(MIB, dtype=torch.uint8)
        b = torch.empty(2 * MIB, dtype=torch.uint8)
        del a, b
        return torch.empty(MIB, dtype=torch.uint8)

    peak = peak_memory(two_then_one)

    assert 3 * MIB <= peak < 3 * MIB + 1000


def test_peak_memory_does_not_count_operands():
    a = torch.zeros(MIB, dtype=torch.uint8)

    assert peak_memory(lambda: a.add_(1)) < 1000


def test_peak_memory_leaves_the_environment_alone(capfd, monkeypatch):
    monkeypatch.delenv("KINETO_LOG_LEVEL", raising=False)

    peak_memory(lambda: torch.zeros(3))

    assert capfd.readouterr().err == ""
    import os

    assert "KINETO_LOG_LEVEL" not in os.environ


@pytest.mark.parametrize("name", ["clebsch_gordan"])
def test_memory_of_a_convolution_grows_with_its_edges(name):
    spec = TensorProductSpec(1, 1, 1)
    peaks = []
    for count in (100, 200):
        edges = first_edges(count)
        x, weights = random_operands(spec, edges.connectivity, 8, torch.Generator())
        convolution = bind(BACKENDS[name](spec), edges.connectivity)
        call = lambda c=convolution, d=edges.directions, x=x, w=weights: c(x, d, w)  # noqa: E731
        peaks.append(peak_memory(call))

    assert 1.8 < peaks[1] / peaks[0] < 2.2
