"""The CUDA kernels, run by the simulator, against the reference."""

import pytest
import torch
from torch.testing import assert_close

from equipot.ops import reference
from equipot.tensor_products import TensorProductSpec
from tests.cuda.simulation import COMPILER, Inputs, Simulator, barriers, random_inputs

pytestmark = pytest.mark.skipif(
    COMPILER is None, reason="needs g++ to compile CUDA kernels for the host"
)

UNROLLED = [
    TensorProductSpec(*degrees, symmetry=symmetry)
    for lmax in (1, 2, 3)
    for degrees, symmetry in (
        ((0, lmax, lmax), "O(3)"),
        ((lmax, lmax, 0), "SO(3)"),
        ((lmax, lmax, lmax), "O(3)"),
        ((lmax, lmax, lmax), "SO(3)"),
    )
]
OTHERS = [
    TensorProductSpec(0, 0, 0),
    TensorProductSpec(0, 1, 3),  # no path to degrees 2 and 3
    TensorProductSpec(1, 3, 2),
    TensorProductSpec(2, 3, 1, accumulate="concat"),
    TensorProductSpec(3, 3, 3, accumulate="concat"),  # several windows of components
    TensorProductSpec(2, 2, 2, weighting="per_degree"),
    TensorProductSpec(4, 4, 4),  # several chunks of paths, matrices of 9 columns
    TensorProductSpec(7, 1, 8),  # of 15 and 17
]
SCHEDULES = range(4)


def simulate(inputs: Inputs, **settings) -> list[torch.Tensor]:
    """Results of the three ops, the same under every schedule to the last bit."""
    results = []
    for seed in SCHEDULES:
        simulator = Simulator(seed, **settings)
        results.append(
            [
                simulator.convolve(inputs),
                *simulator.convolve_backward(inputs),
                *simulator.convolve_double_backward(inputs),
            ]
        )
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert torch.equal(a, b), "results depend on the order of threads"
    return results[0]


def expected(inputs: Inputs) -> list[torch.Tensor]:
    """The same by the reference."""
    constants = (*inputs.topology, *inputs.table)
    return [
        reference.convolve(*inputs[:3], *constants),
        *reference.convolve_backward(*inputs[:4], *constants),
        *reference.convolve_double_backward(*inputs[:7], *constants),
    ]


def assert_equals_reference(inputs: Inputs, dtype: torch.dtype, **settings) -> None:
    # float32 rounds sums of up to some hundred terms
    tolerance = {torch.float64: 1e-13, torch.float32: 2e-6}[dtype]
    results = simulate(inputs.to(dtype), **settings)
    for result, right in zip(results, expected(inputs), strict=True):
        scale = right.abs().max().item() if right.numel() else 1.0
        assert_close(result.double(), right, rtol=0, atol=tolerance * max(scale, 1.0))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("spec", UNROLLED, ids=str)
def test_unrolled_kernels_equal_the_reference(spec, dtype):
    assert_equals_reference(random_inputs(spec, channels=5), dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("spec", [*UNROLLED, *OTHERS], ids=str)
def test_table_driven_kernels_equal_the_reference(spec, dtype):
    inputs = random_inputs(spec, channels=5)

    assert_equals_reference(inputs, dtype, unrolled=False)


@pytest.mark.parametrize("unrolled", [True, False], ids=["unrolled", "table"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("channels", [1, 31, 32, 33, 64, 70])
def test_any_number_of_channels(channels, dtype, unrolled):
    """One lane, tiles that are full, and a second tile that is not."""
    inputs = random_inputs(TensorProductSpec(1, 1, 1), channels=channels, edges=9)

    assert_equals_reference(inputs, dtype, unrolled=unrolled)


@pytest.mark.parametrize("unrolled", [True, False], ids=["unrolled", "table"])
def test_without_channels_nothing_is_written(unrolled):
    inputs = random_inputs(TensorProductSpec(1, 1, 1), channels=0)

    messages = Simulator(unrolled=unrolled).convolve(inputs)

    assert messages.numel() == 0


@pytest.mark.parametrize("unrolled", [True, False], ids=["unrolled", "table"])
def test_without_edges_all_is_zero(unrolled):
    inputs = random_inputs(TensorProductSpec(2, 2, 2), channels=3, edges=0)

    messages, x_bar, *_ = simulate(inputs, unrolled=unrolled)

    assert not messages.any()
    assert not x_bar.any()


@pytest.mark.parametrize("unrolled", [True, False], ids=["unrolled", "table"])
def test_isolated_node_neither_receives_nor_sends(unrolled):
    inputs = random_inputs(TensorProductSpec(2, 2, 2), channels=3)

    messages, x_bar, *_ = simulate(inputs, unrolled=unrolled)

    assert not messages[-1].any()
    assert not x_bar[-1].any()


@pytest.mark.parametrize("unrolled", [True, False], ids=["unrolled", "table"])
@pytest.mark.parametrize("absent", ["x_dot", "y_dot", "w_dot"])
def test_a_tangent_without_elements_is_zero(absent, unrolled):
    inputs = random_inputs(TensorProductSpec(2, 2, 2), channels=3)
    zero = torch.zeros_like(getattr(inputs, absent))
    right = expected(inputs._replace(**{absent: zero}))
    without = inputs._replace(**{absent: torch.zeros(0, dtype=torch.float64)})

    results = simulate(without, unrolled=unrolled)

    for result, value in zip(results, right, strict=True):
        assert_close(result, value, rtol=0, atol=1e-12)


@pytest.mark.parametrize("unrolled", [True, False], ids=["unrolled", "table"])
@pytest.mark.parametrize(("blocks", "warps"), [(1, 1), (2, 4), (7, 2)])
def test_any_grid(blocks, warps, unrolled):
    """Fewer blocks than nodes, more warps than edges of a node."""
    inputs = random_inputs(TensorProductSpec(1, 1, 1), channels=3, edges=20, nodes=7)
    settings = {"blocks": blocks, "warps": warps, "unrolled": unrolled}

    assert_equals_reference(inputs, torch.float64, **settings)


def with_paths(inputs: Inputs, order: list[int]) -> Inputs:
    """The same product with its paths in another order."""
    table = inputs.table
    triples = torch.tensor(table.paths).view(-1, 3)
    sizes = (2 * triples[:, 0] + 1) * (2 * triples[:, 2] + 1)
    blocks = torch.arange(int(sizes.sum())).split(sizes.tolist())
    row_before = torch.cat([blocks[n] for n in order])
    row = row_before.argsort()[table.rows.long()]
    ascending = row.argsort(stable=True)
    table = table._replace(
        paths=triples[order].flatten().tolist(),
        rows=row[ascending].int(),
        columns=table.columns[ascending],
        values=table.values[ascending],
    )
    w, w_dot = inputs.w[:, order].contiguous(), inputs.w_dot[:, order].contiguous()
    return inputs._replace(w=w, w_dot=w_dot, table=table)


def test_paths_in_another_order_are_not_mistaken_for_the_usual_ones():
    usual = random_inputs(TensorProductSpec(1, 1, 1), channels=3)
    other = with_paths(usual, [3, 0, 2, 1])

    assert_close(expected(other)[0], expected(usual)[0])
    assert_equals_reference(other, torch.float64, unrolled=False)
    with pytest.raises(RuntimeError, match="no unrolled kernel computes this product"):
        Simulator().convolve(other)


def test_paths_side_by_side_are_not_mistaken_for_their_sums():
    """With one path to each degree both have as many components."""
    spec = TensorProductSpec(0, 1, 1, accumulate="concat")
    inputs = random_inputs(spec, channels=3)

    assert_equals_reference(inputs, torch.float64, unrolled=False)
    with pytest.raises(RuntimeError, match="no unrolled kernel computes this product"):
        Simulator().convolve(inputs)


@pytest.mark.parametrize("unrolled", [True, False], ids=["unrolled", "table"])
def test_every_barrier_is_needed(unrolled):
    """Without any one of them a schedule gives other results or an error."""
    inputs = random_inputs(TensorProductSpec(1, 1, 1), channels=70, edges=20)
    right = simulate(inputs, unrolled=unrolled)
    sources = {"unrolled.cuh", "edge_matrices.cuh", "channels.cuh"}
    if not unrolled:
        sources = {"table_driven.cuh", "channels.cuh"}
    names = [name for name in barriers() if name.split(":")[0] in sources]

    unnoticed = []
    for name in names:
        try:
            results = simulate(inputs, unrolled=unrolled, ignored_barrier=name)
        except (AssertionError, RuntimeError):
            continue
        if all(torch.equal(a, b) for a, b in zip(results, right, strict=True)):
            unnoticed.append(name)

    assert len(names) >= 4
    assert not unnoticed


def test_kernels_stop_at_indices_that_do_not_exist():
    inputs = random_inputs(TensorProductSpec(1, 1, 1), channels=3)
    senders = inputs.topology.senders.clone()
    senders[3] = len(inputs.x)
    order = inputs.topology.sender_order.clone()
    order[2] = -1
    pointers = inputs.topology.receiver_pointers + 1

    for changed, message in (
        ({"senders": senders}, "must be nodes"),
        ({"receivers": inputs.topology.receivers - 1}, "must be nodes"),
        ({"sender_order": order}, "numbers of edges"),
        ({"receiver_pointers": pointers}, "0 to the number of edges"),
    ):
        topology = inputs.topology._replace(**changed)
        for unrolled in (True, False):
            with pytest.raises(RuntimeError, match=message):
                simulate(inputs._replace(topology=topology), unrolled=unrolled)


def test_kernels_stop_at_couplings_that_do_not_exist():
    inputs = random_inputs(TensorProductSpec(1, 1, 1), channels=3)
    table = inputs.table

    for changed, unrolled, message in (
        ({"columns": table.columns * 0}, True, "selection rule"),
        ({"columns": table.columns + 4}, False, "not a harmonic"),
        ({"rows": table.rows + 1000}, True, "outside of the edge matrices"),
        ({"rows": table.rows + 1000}, False, "must ascend"),
        ({"rows": table.rows.flip(0)}, False, "must ascend"),
    ):
        with pytest.raises(RuntimeError, match=message):
            simulate(
                inputs._replace(table=table._replace(**changed)), unrolled=unrolled
            )


def test_products_that_do_not_fit_are_refused_with_numbers():
    spec = TensorProductSpec(0, 1, 1, accumulate="concat")
    inputs = random_inputs(spec, channels=1)
    many = inputs._replace(
        w=inputs.w[:, :1].repeat(1, 513, 1),
        table=inputs.table._replace(paths=[0, 0, 0] * 513, num_outputs=513),
    )
    with pytest.raises(RuntimeError, match="up to 512 paths, got 513"):
        Simulator(unrolled=False).convolve(many)

    large = random_inputs(TensorProductSpec(0, 30, 30), channels=1, edges=1, nodes=2)
    with pytest.raises(RuntimeError, match="bytes of shared memory, but a block"):
        Simulator(unrolled=False).convolve(large)
