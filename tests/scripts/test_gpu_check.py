"""The check on a GPU, as far as it can be tried without one."""

import time

import benchmark_gpu as benchmark
import gpu_check
import gpu_peers
import pytest
import torch

from equipot.bench.graphs import crystal
from equipot.ops import library

CPU = torch.device("cpu")
RATES = benchmark.Rates(bytes_per_second=1e10, operations_per_second=1e11)

needs_compiled_ops = pytest.mark.skipif(
    library.unavailable(CPU) is not None, reason="needs the compiled ops for the CPU"
)


def once(call):
    """A timer for tests: two samples of one call."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_what_is_missing(monkeypatch):
    with pytest.raises(SystemExit, match=r"built without CUDA|finds no GPU"):
        gpu_check.main([])

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(SystemExit, match=r"for CUDA 13\.0 but found no GPU"):
        gpu_check.main([])


def test_it_builds_then_tests_then_measures(monkeypatch, capsys):
    """And stops at the first step that fails."""
    monkeypatch.setattr(gpu_check, "require_gpu", lambda: CPU)
    commands = []

    class Done:
        returncode = 0

    def run(command, **_):
        commands.append(command)
        Done.returncode = 3 if "pytest" in command and fails else 0
        return Done

    monkeypatch.setattr(gpu_check.subprocess, "run", run)
    fails = False
    assert gpu_check.main(["--lmax", "1"]) == 0
    assert [command[1] for command in commands] == [
        "cuda_ext/build.py",
        "-m",
        "scripts/benchmark_gpu.py",
    ]
    assert commands[-1][2:] == ["--lmax", "1"]

    fails = True
    assert gpu_check.main([]) == 3
    assert len(commands) == 5
    assert "test failed with status 3" in capsys.readouterr().err


def test_only_cases_that_fit_into_memory_are_measured():
    sizes = [50_000, 1_000_000]
    largest = benchmark.Case(3, 128, 1_000_000)

    # weights of 23 paths are 11.8 GB of it
    assert largest.operand_bytes == pytest.approx(12.2e9, rel=0.02)
    every = list(benchmark.cases_that_fit([1, 3], [64, 128], sizes, 80 * 2**30))
    few = list(benchmark.cases_that_fit([1, 3], [64, 128], sizes, 8 * 2**30))
    assert len(every) == 8
    assert largest in every
    assert largest not in few
    assert benchmark.Case(3, 64, 50_000) in few


@pytest.mark.parametrize("edges", [2_000, 50_000, 1_000_000])
def test_the_crystal_has_about_as_many_edges_as_asked_for(edges):
    repeats = benchmark.cubes(edges)
    cells = repeats[0] * repeats[1] * repeats[2]

    assert benchmark.EDGES_OF_CUBE * cells == pytest.approx(edges, rel=0.1)
    if edges < 10_000:
        found = crystal(repeats).connectivity.num_edges
        assert found == pytest.approx(edges, rel=0.1)


@needs_compiled_ops
def test_a_case_is_measured_from_graph_to_verdict():
    """On the CPU, where everything but the clock is the same."""
    row = benchmark.measure(benchmark.Case(1, 4, 2_000), CPU, once, RATES)

    assert {"fused", "e3nn"} <= set(row["errors"])
    for step in ("forward", "forward + backward", "double backward"):
        for name in ("fused", "e3nn"):
            timing = row["steps"][step][name]
            low, high = timing["range_ms"]
            assert 0 < low <= timing["median_ms"] <= high
            ratio = timing["median_ms"] / timing["floor_ms"]
            assert timing["times_floor"] == pytest.approx(ratio)
    found = list(benchmark.verdicts([row]))
    assert len(found) >= 6
    assert benchmark.table(row).row_count == len(row["errors"])


@needs_compiled_ops
def test_who_computes_something_else_is_not_timed(monkeypatch):
    right = gpu_peers._e3nn

    def wrong(*arguments):
        variant = right(*arguments)

        def convolution(x, y, w, own=variant.convolution):
            return own(x, y, 1.001 * w)

        return benchmark.Variant(
            "e3nn", variant.spec, convolution, True, variant.to_own, variant.from_own
        )

    monkeypatch.setattr(gpu_peers, "_e3nn", wrong)
    row = benchmark.measure(benchmark.Case(1, 2, 500), CPU, once, RATES)

    for own in row["steps"].values():
        assert own["e3nn"] == {"failed": "computes something else"}
        assert "median_ms" in own["fused"]

    monkeypatch.setattr(benchmark, "TOLERANCE", 1e-12)
    with pytest.raises(SystemExit, match="fused computes something else"):
        benchmark.measure(benchmark.Case(1, 2, 500), CPU, once, RATES)


@needs_compiled_ops
def test_without_memory_a_variant_is_left_out():
    edges = crystal((1, 1, 1))
    calls = []

    def timer(call):
        calls.append(call)
        if len(calls) == 1:
            raise torch.cuda.OutOfMemoryError
        if len(calls) == 2:
            raise RuntimeError("no kernel\nfor this")
        return once(call)

    case = benchmark.Case(1, 2, 168)
    found = benchmark.time_step("forward", case, edges, timer, wrong=())

    assert found["fused"] == "out of memory"
    assert "no kernel" in found.values()
    calls[:] = [None]  # now it is `fused` that has no kernel
    with pytest.raises(RuntimeError, match="no kernel"):
        benchmark.time_step("forward", case, edges, timer, wrong=())


def test_verdicts_compare_with_the_floor_and_with_others():
    timing = {"median_ms": 3.0, "times_floor": 1.5}
    slow = {"median_ms": 6.0, "times_floor": 3.0}
    row = {"lmax": 1, "channels": 64, "edges": 7}
    row["steps"] = {"forward": {"fused": timing, "e3nn": slow, "oeq": {"failed": ""}}}

    near, faster = benchmark.verdicts([row])
    assert near.passed
    assert near.found == pytest.approx(1 / 1.5)
    assert faster.passed
    assert faster.found == 2.0

    row["steps"] = {"forward": {"fused": slow, "e3nn": timing}}
    far, slower = benchmark.verdicts([row])
    assert not far.passed
    assert not slower.passed


def test_results_are_kept_by_name_of_the_gpu():
    path = benchmark.file_of("NVIDIA H200")

    assert path.name == "nvidia_h200.json"
    assert path.parent.name == "results"
