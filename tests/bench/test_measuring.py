"""Times, graphs and exponents."""

import math
import time
from functools import partial

import pytest
import torch
from torch.testing import assert_close

from equipot.bench import timing
from equipot.bench.graphs import ATOMS, first_edges, molecules
from equipot.bench.measure import relative_error
from equipot.bench.scaling import exponent
from equipot.bench.steps import STEPS, Operands, bind, double_backward
from equipot.bench.timing import interleaved_times, summarize
from equipot.graph.connectivity import Connectivity
from equipot.tensor_products import ClebschGordan, TensorProductSpec


def test_calls_interleaved_times():
    order = []

    def call(name):
        order.append(name)
        time.sleep(0.002)

    # each sample is a run of one name
    samples = interleaved_times({name: partial(call, name) for name in "ab"}, rounds=3)

    runs = [name for n, name in enumerate(order) if n == 0 or order[n - 1] != name]
    assert runs == ["a", "b"] * 4  # once to warm up
    assert len(samples["a"]) == len(samples["b"]) == 3


def test_time_limits_the_rounds_but_not_below_three():
    call = partial(time.sleep, 0.002)

    samples = interleaved_times({"a": call}, rounds=1000, seconds=0.0)

    assert len(samples["a"]) == 3


def test_the_first_call_of_a_turn_is_not_timed(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(timing, "synchronized_clock", lambda: clock[0])
    previous = []

    def call(name, warm):
        clock[0] += warm if previous == [name] else 100 * warm
        previous[:] = [name]

    calls = {"a": partial(call, "a", 1e-3), "b": partial(call, "b", 1e-4)}
    samples = interleaved_times(calls, rounds=4)

    assert samples["a"] == pytest.approx([1e-3] * 4)
    assert samples["b"] == pytest.approx([1e-4] * 4)


def test_a_long_call_is_made_once_a_turn(monkeypatch):
    clock, made = [0.0], []
    monkeypatch.setattr(timing, "synchronized_clock", lambda: clock[0])

    def call():
        clock[0] += 2 * timing.LONG_CALL_SECONDS
        made.append(None)

    samples = interleaved_times({"a": call}, rounds=5)

    assert len(made) == 1 + 5
    assert samples["a"] == pytest.approx([2 * timing.LONG_CALL_SECONDS] * 5)


def test_too_few_rounds_are_refused():
    with pytest.raises(ValueError, match="at least 3 rounds, got 2"):
        interleaved_times({}, rounds=2)


def test_median_and_quartiles():
    timing = summarize([5.0, 1.0, 2.0, 3.0, 100.0])

    assert (timing.low, timing.median, timing.high) == (2.0, 3.0, 5.0)


def test_molecules_are_apart_and_their_edges_are_directed_both_ways():
    edges = molecules(3)

    senders, receivers = edges.connectivity.edge_index
    assert torch.equal(senders // ATOMS, receivers // ATOMS)
    pairs = set(zip(senders.tolist(), receivers.tolist(), strict=True))
    assert {(j, i) for i, j in pairs} == pairs
    assert 1500 < len(pairs) < 3 * ATOMS * (ATOMS - 1)
    assert edges.connectivity.sorted_by_receiver


@pytest.mark.parametrize("count", [1, 64, 1000])
def test_any_number_of_edges_can_be_had(count):
    edges = first_edges(count)

    assert edges.directions.shape == (count, 3)
    assert edges.connectivity.num_edges == count
    assert edges.connectivity.edge_index.max() < edges.connectivity.num_nodes


def test_exponent_of_a_power_law():
    assert math.isclose(exponent({1: 2.0, 2: 16.0, 3: 54.0}), 3.0)


def test_double_backward_is_the_derivative_of_the_squared_forces():
    spec = TensorProductSpec(1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    connectivity = Connectivity(torch.tensor([[0, 1], [1, 1]]), 2)
    f = bind(ClebschGordan(spec), connectivity)
    operands = Operands(
        *(
            torch.randn(shape, generator=generator, dtype=torch.float64)
            for shape in ((2, 4, 2), (2, 3), (2, 4, 2), (2, 4, 2))
        )
    )

    def loss(weights):
        x, directions = operands.x, operands.geometry
        gradients = torch.func.grad(
            lambda x, d: (f(x, d, weights) * operands.cotangent).sum(), argnums=(0, 1)
        )(x, directions)
        return sum(g.pow(2).sum() for g in gradients)

    *_, by_weights = double_backward(f, operands)

    expected = torch.func.grad(loss)(operands.weights)
    assert_close(by_weights, expected, rtol=0, atol=1e-12)


def test_steps_have_the_names_of_the_tables():
    assert list(STEPS) == ["forward", "forward + backward", "double backward"]


def test_the_reference_has_no_error_but_rounding():
    product = ClebschGordan(TensorProductSpec(2, 2, 2))

    assert relative_error(product, torch.float64) == 0
    assert 1e-8 < relative_error(product, torch.float32) < 1e-6
