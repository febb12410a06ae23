"""Edges grouped by the node where they start or end."""

import pytest
import torch

from equipot.graph.connectivity import Connectivity


def test_compressed_edges_hold_the_edges_of_each_node():
    edge_index = torch.tensor([[3, 1, 0, 2, 0], [0, 0, 1, 4, 4]])
    connectivity = Connectivity(edge_index, 6)
    edges = connectivity.compressed

    for node in range(6):
        first, last = edges.receiver_pointers[node : node + 2].tolist()
        arriving = torch.nonzero(connectivity.receivers == node)[:, 0]
        assert list(range(first, last)) == arriving.tolist()
        first, last = edges.sender_pointers[node : node + 2].tolist()
        leaving = torch.nonzero(connectivity.senders == node)[:, 0]
        assert edges.sender_order[first:last].tolist() == leaving.tolist()


def test_edges_in_another_order_are_not_compressed():
    edge_index = torch.tensor([[3, 0, 1, 0], [4, 0, 1, 0]])
    connectivity = Connectivity(edge_index, 5)

    with pytest.raises(ValueError, match="reorder them by receiver_order"):
        _ = connectivity.compressed
    assert connectivity.receiver_order.tolist() == [1, 3, 2, 0]


def test_order_by_receiver_is_recognised():
    edge_index = torch.tensor([[3, 0, 1], [0, 0, 1]])

    assert Connectivity(edge_index, 4).sorted_by_receiver
    assert not Connectivity(edge_index.flip(1), 4).sorted_by_receiver


def test_no_edges_are_sorted_and_belong_to_nobody():
    connectivity = Connectivity(torch.zeros(2, 0, dtype=torch.long), 3)

    assert connectivity.sorted_by_receiver
    assert connectivity.compressed.sender_pointers.tolist() == [0, 0, 0, 0]


def test_rows_are_contiguous_however_the_edges_were_stored():
    by_columns = torch.tensor([[3, 0], [0, 0], [1, 1]]).T

    connectivity = Connectivity(by_columns, 4)

    assert connectivity.senders.is_contiguous()
    assert connectivity.receivers.is_contiguous()
