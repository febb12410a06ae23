"""What the benchmark counts, compares and concludes; it times nothing here."""

import argparse

import benchmark_tensor_products as benchmark
import pytest
import torch
from tensor_product_peers import (
    Variant,
    channelwise_cuequivariance,
    e3nn_variants,
    ours,
)
from tensor_product_targets import CASES, E3NN_TARGETS, compared_with_targets
from torch.testing import assert_close

from equipot.bench.floors import KERNELS, STEP_KERNELS, floor, step_seconds
from equipot.bench.graphs import exactly
from equipot.bench.steps import STEPS
from equipot.graph.connectivity import Connectivity
from equipot.tensor_products import TensorProductSpec

SPECS = [
    TensorProductSpec(2, 2, 2),
    TensorProductSpec(1, 2, 2, symmetry="SO(3)"),
    TensorProductSpec(2, 1, 2, accumulate="concat"),
    TensorProductSpec(1, 1, 1, symmetry="SO(3)", accumulate="concat"),
]


def variants(spec, edges, channels, dtype):
    yield from ours(spec, edges, channels, dtype)
    yield from e3nn_variants(spec, edges, channels, dtype)
    yield from channelwise_cuequivariance(spec, edges, channels, dtype)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_all_variants_compute_the_same(spec):
    edges, channels = exactly(40), 3

    errors = {
        v.name: benchmark.check(
            v, edges, benchmark.operands_of(v, edges, channels, torch.float64)
        )
        for v in variants(spec, edges, channels, torch.float64)
    }

    assert {"e3nn", "clebsch_gordan"} <= set(errors)
    assert all(max(e.values()) < 1e-12 for e in errors.values()), errors


def test_what_computes_something_else_is_refused():
    spec, edges = TensorProductSpec(1, 1, 1), exactly(20)
    right = next(iter(ours(spec, edges, 2, torch.float64)))

    def convolution(x, geometry, weights):
        return right.convolution(x, geometry, weights) * 1.001

    wrong = Variant("wrong", spec, convolution, right.takes_harmonics)
    operands = benchmark.operands_of(wrong, edges, 2, torch.float64)

    with pytest.raises(SystemExit, match="wrong computes something else"):
        benchmark.check(wrong, edges, operands)


def test_a_wrong_gradient_is_refused():
    spec, edges = TensorProductSpec(1, 1, 1), exactly(20)
    right = next(iter(ours(spec, edges, 2, torch.float64)))

    def convolution(x, geometry, weights):
        return right.convolution(x, geometry, weights.detach() + 0 * weights)

    wrong = Variant("wrong", spec, convolution, right.takes_harmonics)
    operands = benchmark.operands_of(wrong, edges, 2, torch.float64)

    with pytest.raises(SystemExit, match="gradient by weights"):
        benchmark.check(wrong, edges, operands)


def test_speed_is_the_median_of_ratios_within_a_round():
    ours, e3nn = [1.0, 10.0, 2.0], [5.0, 20.0, 8.0]

    assert benchmark.speed(ours, e3nn) == 4.0
    row = benchmark.describe(ours, e3nn, least=0.5, edges=1_000_000)
    assert row["median_us"] == 2.0
    assert row["speed_vs_e3nn"] == 4.0
    assert row["floor_us"] == 0.5
    assert row["times_floor"] == 4.0


def found(case, **speeds):
    rows = {
        name: {"median_us": 100 / speed, "speed_vs_e3nn": speed}
        for name, speed in speeds.items()
    }
    return {"case": case, "graph": "crystal", "steps": dict.fromkeys(STEPS, rows)}


def test_every_case_and_step_has_a_target():
    assert set(E3NN_TARGETS) == set(CASES)
    assert all(set(targets) == set(STEPS) for targets in E3NN_TARGETS.values())


def test_targets_are_passed_and_failed():
    verdicts = list(compared_with_targets(found("1x64", fused=20.0, e3nn=1.0)))

    assert [v.passed for v in verdicts] == [False, True, True]
    assert str(verdicts[0]) == (
        "FAIL  1x64, crystal, forward, fused vs e3nn: 20, at least 25"
    )


def test_at_lmax_three_others_are_judged_as_well():
    measured = found("3x128", fused=60.0, cuequivariance=2.0, so2=5.0, e3nn=1.0)

    verdicts = {v.what: v for v in compared_with_targets(measured)}

    cue = verdicts["3x128, crystal, forward, fused vs cuequivariance"]
    assert cue.found == pytest.approx(30.0)
    assert cue.passed
    assert verdicts["3x128, crystal, forward + backward, so2 vs e3nn"].passed
    assert "3x128, crystal, double backward, so2 vs e3nn" not in verdicts


def test_floor_of_the_forward_product_counted_by_hand():
    """lmax 1: edge matrices take 48 operations, rotation 52; 4 weights, 4 harmonics."""
    connectivity = Connectivity(torch.zeros(2, 100, dtype=torch.int64), 10)

    least = floor("convolve", TensorProductSpec(1, 1, 1), connectivity, 8, 4)

    assert least.operations == 100 * 8 * 48
    nodes, edges = 10 * 8 * (4 + 4), 100 * (4 + 8 * 4)
    assert least.bytes == 4 * (nodes + edges) + 8 * 100


def test_floor_is_the_slower_of_arithmetic_and_memory():
    connectivity = Connectivity(torch.zeros(2, 100, dtype=torch.int64), 10)
    spec = TensorProductSpec(1, 1, 1)
    least = floor("convolve", spec, connectivity, 8, 4)

    assert least.seconds(1.0, 1e9) == least.operations
    assert least.seconds(1e9, 1.0) == least.bytes


def test_floor_of_a_step_is_that_of_its_kernels():
    connectivity = Connectivity(torch.zeros(2, 100, dtype=torch.int64), 10)
    spec = TensorProductSpec(2, 2, 2)
    rates = {"operations_per_second": 1.0, "bytes_per_second": 1e12}

    times = [step_seconds(step, spec, connectivity, 8, 4, **rates) for step in STEPS]

    products = [sum(KERNELS[k].products for k in STEP_KERNELS[s]) for s in STEPS]
    assert products == [1, 3, 8]
    assert_close(torch.tensor(times) / times[0], torch.tensor(products).float())


def test_more_edges_than_memory_holds_are_left_out(monkeypatch):
    rows = [{"peak_bytes_per_edge": 6.0, "operand_bytes_per_edge": 2.0}]

    monkeypatch.setattr(benchmark, "_free_memory", lambda: 1500)

    assert benchmark._fits([], 10**9)
    assert benchmark._fits(rows, 99)
    assert not benchmark._fits(rows, 101)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_comparison_has_all_numbers_of_its_table(monkeypatch):
    monkeypatch.setitem(CASES, "tiny", (1, 2))
    monkeypatch.setitem(benchmark.GRAPHS, "tiny", lambda: exactly(12))
    arguments = argparse.Namespace(
        concat=False, compiled=False, variants=["clebsch_gordan"], rounds=3, seconds=0.0
    )

    result = benchmark.compare("tiny", "tiny", arguments)

    assert set(result["errors"]) == {"e3nn", "clebsch_gordan"}
    assert list(result["steps"]) == list(STEPS)
    assert benchmark.comparison_table(result).row_count == 2
    assert all(
        row["times_floor"] > 1
        for own in result["steps"].values()
        for row in own.values()
    )
