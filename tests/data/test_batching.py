import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from equipot.data.batching import EdgeBudgetSampler, evaluation_batches, iterate
from equipot.data.dataset import make_example
from equipot.data.reading import read_structures

EDGES = st.lists(st.integers(0, 50), max_size=40)


@given(EDGES, st.integers(1, 7), st.integers(1, 80), st.integers(0, 3))
def test_every_structure_is_in_exactly_one_batch(edges, batch_size, max_edges, epoch):
    sampler = EdgeBudgetSampler(edges, batch_size, max_edges, seed=3)

    batches = sampler.batches(epoch)

    assert sorted(n for batch in batches for n in batch) == list(range(len(edges)))


@given(EDGES, st.integers(1, 7), st.integers(1, 80))
def test_bounds_hold_except_for_single_structures(edges, batch_size, max_edges):
    for batch in EdgeBudgetSampler(edges, batch_size, max_edges).batches(0):
        assert 1 <= len(batch) <= batch_size
        assert len(batch) == 1 or sum(edges[n] for n in batch) <= max_edges


def test_the_order_is_a_function_of_seed_and_epoch():
    def batches(seed, epoch):
        return EdgeBudgetSampler([1] * 50, 4, seed=seed).batches(epoch)

    assert batches(1, 5) == batches(1, 5)
    assert batches(1, 5) != batches(1, 6)
    assert batches(1, 5) != batches(2, 5)


def test_evaluation_keeps_the_order_of_the_set():
    batches = evaluation_batches([5, 5, 20, 1, 1, 1], batch_size=2, max_edges=10)

    assert batches == [[0, 1], [2], [3, 4], [5]]


def test_bounds_must_be_positive():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        EdgeBudgetSampler([1], 0)
    with pytest.raises(ValueError, match="max_edges must be at least 1, got -1"):
        evaluation_batches([1], 1, -1)


def test_a_resumed_epoch_continues_where_it_stopped(metals, write_frames):
    structures = read_structures(write_frames(metals[:6]))
    examples = [make_example(s, 3.0) for s in structures]
    batches = EdgeBudgetSampler([e.graph.num_edges for e in examples], 2).batches(0)

    whole = list(iterate(examples, batches, dtype=torch.float32))
    rest = list(iterate(examples, batches, dtype=torch.float32, start=1))

    assert len(whole) == 3
    assert len(rest) == 2
    for (graph, labels), (again, same) in zip(whole[1:], rest, strict=True):
        assert graph.positions.dtype == torch.float32
        assert labels.energy.dtype == torch.float64
        assert_close(graph.positions, again.positions, rtol=0, atol=0)
        assert_close(labels.energy, same.energy, rtol=0, atol=0)
