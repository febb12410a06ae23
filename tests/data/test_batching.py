import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipot.data.batching import EdgeBudgetSampler, evaluation_batches

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
