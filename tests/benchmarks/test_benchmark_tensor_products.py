"""Variants compute the same, and rows hold all columns; speed is not judged."""

import argparse
import json
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import tensor_products as benchmark
from benchmarks.peers import tensor_products as peers
from equipot.bench.graphs import first_edges
from equipot.bench.steps import STEPS
from equipot.ops import library
from equipot.tensor_products import TensorProductSpec

CPU = torch.device("cpu")
SPECS = [TensorProductSpec(2, 2, 2), TensorProductSpec(1, 2, 1, symmetry="SO(3)")]

needs_compiled_ops = pytest.mark.skipif(
    library.unavailable(CPU) is not None, reason="needs the compiled ops for the CPU"
)


@pytest.fixture
def wrong_e3nn(monkeypatch):
    """e3nn with weights that are too large."""
    right = peers.e3nn_variant

    def wrong(*arguments):
        variant = right(*arguments)

        def convolution(x, y, w):
            return variant.convolution(x, y, 1.001 * w)

        return replace(variant, convolution=convolution)

    monkeypatch.setattr(peers, "e3nn_variant", wrong)


def options(*variants):
    return argparse.Namespace(variants=list(variants), rounds=3, seconds=0.0)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_all_variants_compute_the_same(spec):
    edges, channels = first_edges(40), 3

    errors = {
        v.name: benchmark.check(v, edges, channels, CPU)
        for v in peers.variants(spec, edges, channels)
    }

    assert {"e3nn", "clebsch_gordan"} <= set(errors)
    assert all(error < 2e-6 for error in errors.values()), errors
    assert errors.get("fused float64", 0.0) < 1e-12


def test_a_wrong_gradient_is_noticed():
    spec, edges = TensorProductSpec(1, 1, 1), first_edges(20)
    right = next(v for v in peers.ours(spec, edges, 2) if v.name == "clebsch_gordan")

    def convolution(x, geometry, weights):
        return right.convolution(x, geometry, weights.detach() + 0 * weights)

    wrong = replace(right, convolution=convolution)

    assert benchmark.check(wrong, edges, 2, CPU) > 0.1
    with pytest.raises(SystemExit, match="fused differs from the reference by"):
        benchmark.check(replace(wrong, name="fused"), edges, 2, CPU)


def test_speed_is_the_median_of_ratios_within_a_round():
    ours, e3nn = [1.0, 10.0, 2.0], [5.0, 20.0, 8.0]

    row = benchmark.describe(ours, e3nn, least=0.5, edges=1_000_000)

    assert row["median"] == 2.0
    assert row["speed vs e3nn"] == 4.0
    assert row["roofline"] == 0.5
    assert row["x roofline"] == 4.0


def test_a_case_is_measured_from_graph_to_table():
    found = benchmark.compare("1x2", "100", CPU, options("clebsch_gordan"))

    assert set(found["errors"]) == {"e3nn", "clebsch_gordan"}
    assert [row["step"] for row in found["rows"]] == 2 * list(STEPS)
    for row in found["rows"]:
        assert 0 < row["low"] <= row["median"] <= row["high"]
        assert row["x roofline"] > 1
        assert row["peak"] > 0
    assert benchmark.table_of("", found["rows"]).row_count == 6


@pytest.mark.usefixtures("wrong_e3nn")
def test_a_variant_that_differs_is_not_timed():
    found = benchmark.compare("1x2", "100", CPU, options("clebsch_gordan"))

    for row in found["rows"]:
        assert ("median" in row) == (row["variant"] == "clebsch_gordan")
        assert row.get("failed", "differs") == "differs"
        assert row.get("speed vs e3nn") is None


@needs_compiled_ops
def test_fused_is_measured_in_both_precisions():
    found = benchmark.compare("1x2", "100", CPU, options("fused", "fused float64"))

    names = {row["variant"] for row in found["rows"] if "median" in row}
    assert names == {"fused", "fused float64", "e3nn"}


def test_a_variant_without_memory_or_kernel_is_left_out():
    def fails(error):
        def call():
            raise error

        return call

    memory = fails(torch.cuda.OutOfMemoryError())
    kernel = fails(RuntimeError("no kernel\nfor this"))

    assert benchmark.first_failure(memory, "fused") == "out of memory"
    assert benchmark.first_failure(kernel, "e3nn") == "no kernel"
    with pytest.raises(RuntimeError, match="no kernel"):
        benchmark.first_failure(kernel, "fused")


@pytest.mark.parametrize("edges", [2_000, 50_000, 1_000_000])
def test_the_crystal_has_about_as_many_edges_as_wanted(edges):
    first, second, third = benchmark.repeats_for(edges)

    cells = first * second * third
    assert benchmark.EDGES_PER_CUBE * cells == pytest.approx(edges, rel=0.1)
    if edges < 10_000:
        found = benchmark.graph_of(str(edges)).connectivity.num_edges
        assert found == pytest.approx(edges, rel=0.1)


def test_a_crystal_has_42_neighbors_within_five_angstrom_on_all_sides():
    edges = benchmark.graph_of("crystal")
    receivers = edges.connectivity.receivers

    counts = receivers.bincount()
    total = torch.zeros(48, 3, dtype=torch.float64)
    total.index_add_(0, receivers, edges.directions)

    assert len(counts) == 48
    assert 42 <= counts.float().mean() < 43.5
    # a perfect crystal gives 0; a shell of 12 beyond the cutoff comes in here and there
    assert (total / 42).norm(dim=1).max() < 0.1


def test_the_program_writes_a_record_after_every_case(tmp_path, monkeypatch):
    file, threads = tmp_path / "new" / "out.json", str(torch.get_num_threads())
    arguments = ["--cases", "1x2", "--graphs", "100", "--variants", "clebsch_gordan"]
    arguments += ["--rounds", "3", "--seconds", "0", "--threads", threads]
    monkeypatch.setattr(sys, "argv", ["program", *arguments, "--json", str(file)])

    benchmark.main()

    record = json.loads(file.read_text(encoding="utf-8"))
    assert record["settings"]["json"] == "out.json"
    (case,) = record["comparison"]
    assert case["edges"] > 0
    assert len(case["rows"]) == 6
