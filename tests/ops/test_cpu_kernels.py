"""The compiled kernels for the CPU against the reference."""

import pytest
import torch

from equipot.ops.library import cpu_instruction_set
from equipot.tensor_products import TensorProductSpec
from tests.ops.operands import assert_equals_reference, random_operands

SPECS = [
    *(TensorProductSpec(lmax, lmax, lmax) for lmax in range(7)),
    TensorProductSpec(1, 3, 2),
    TensorProductSpec(6, 2, 5),
    TensorProductSpec(0, 4, 4),
    TensorProductSpec(0, 1, 3),  # no path to degrees 2 and 3
    TensorProductSpec(4, 4, 0),
    TensorProductSpec(3, 3, 3, symmetry="SO(3)"),
    TensorProductSpec(2, 4, 3, symmetry="SO(3)"),
    TensorProductSpec(3, 3, 3, accumulate="concat"),
    TensorProductSpec(2, 1, 4, symmetry="SO(3)", accumulate="concat"),
    TensorProductSpec(2, 2, 2, weighting="per_degree"),
    TensorProductSpec(8, 1, 7),  # degrees above 6: loops that take several goes
    TensorProductSpec(2, 9, 8, symmetry="SO(3)"),
]
CHANNELS = [1, 3, 8, 16, 17, 64, 100, 128]
ISAS = ["avx512", "avx2", "portable"]


@pytest.fixture(params=ISAS)
def isa(request, monkeypatch):
    """Each set of instructions that this processor has."""
    monkeypatch.setenv("EQUIPOT_CPU_ISA", request.param)
    if cpu_instruction_set() != request.param:
        pytest.skip(f"this processor does not have {request.param}")


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_every_product(spec, dtype):
    assert_equals_reference(random_operands(spec), dtype)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("accumulate", ["sum", "concat"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_every_number_of_channels(channels, accumulate, dtype):
    spec = TensorProductSpec(2, 2, 2, accumulate=accumulate)
    assert_equals_reference(random_operands(spec, channels), dtype)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize(
    ("num_nodes", "num_edges"),
    [(4, 0), (1, 0), (0, 0), (1, 5), (2, 1), (60, 40), (3, 16), (3, 33), (40, 700)],
)
def test_every_graph(num_nodes, num_edges):
    """Nodes without edges, edges from a node to itself, full and started blocks."""
    operands = random_operands(
        TensorProductSpec(1, 2, 2), num_nodes=num_nodes, num_edges=num_edges
    )
    assert_equals_reference(operands, torch.float64)


@pytest.mark.usefixtures("isa")
def test_no_channels():
    operands = random_operands(TensorProductSpec(1, 1, 1), channels=0)
    x_bar, y_bar, _ = operands.results()[1:4]

    assert x_bar.shape == operands.x.shape
    assert y_bar.shape == operands.y.shape
    assert not y_bar.any()


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("channels", [3, 16])
def test_tangents_without_elements_are_zero(channels):
    operands = random_operands(TensorProductSpec(2, 2, 1), channels)
    names = ("x_dot", "y_dot", "w_dot")
    for absent in range(1, 8):
        chosen = [name for n, name in enumerate(names) if absent >> n & 1]
        assert_equals_reference(
            operands._replace(**{name: torch.empty(0) for name in chosen}),
            torch.float64,
        )


def test_couplings_need_not_be_those_of_rotations():
    """Any table will do: several terms in an element, some on a diagonal, none."""
    operands = random_operands(TensorProductSpec(1, 1, 1))
    table = operands.table
    rows = [0, 0, 0, 1, 3, 5, 5, 7, 11, 15]  # paths of 1, 3 x 3, 1 x 3, 3 x 3 elements
    columns = [0, 1, 3, 2, 2, 0, 1, 3, 2, 3]
    generator = torch.Generator().manual_seed(1)
    table = table._replace(
        rows=torch.tensor(rows, dtype=torch.int32),
        columns=torch.tensor(columns, dtype=torch.int32),
        values=torch.randn(len(rows), generator=generator, dtype=torch.float64),
    )
    assert_equals_reference(operands._replace(table=table), torch.float64)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_results_do_not_depend_on_the_run_or_on_threads(dtype):
    operands = random_operands(
        TensorProductSpec(2, 2, 2), 17, num_nodes=60, num_edges=900
    ).to(dtype)
    expected = operands.results()
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            for result, right in zip(operands.results(), expected, strict=True):
                assert torch.equal(result, right)
    finally:
        torch.set_num_threads(before)
