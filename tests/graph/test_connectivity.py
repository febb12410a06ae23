"""Edges grouped by the node where they start or end."""

import torch

from equipot.graph.connectivity import Connectivity


def test_segments_hold_the_edges_of_each_node():
    edge_index = torch.tensor([[3, 0, 1, 0, 2], [0, 0, 1, 4, 4]])
    connectivity = Connectivity(edge_index, 6)

    for nodes, (order, pointers) in (
        (connectivity.senders, connectivity.by_sender),
        (connectivity.receivers, connectivity.by_receiver),
    ):
        for node in range(6):
            edges = order[pointers[node] : pointers[node + 1]]
            assert edges.tolist() == torch.nonzero(nodes == node)[:, 0].tolist()


def test_order_by_receiver_is_recognised():
    edge_index = torch.tensor([[3, 0, 1], [0, 0, 1]])

    assert Connectivity(edge_index, 4).sorted_by_receiver
    assert not Connectivity(edge_index.flip(1), 4).sorted_by_receiver


def test_no_edges_are_sorted_and_belong_to_nobody():
    connectivity = Connectivity(torch.zeros(2, 0, dtype=torch.long), 3)

    assert connectivity.sorted_by_receiver
    assert connectivity.by_sender.pointers.tolist() == [0, 0, 0, 0]


def test_rows_are_contiguous_however_the_edges_were_stored():
    by_columns = torch.tensor([[3, 0], [0, 0], [1, 1]]).T

    connectivity = Connectivity(by_columns, 4)

    assert connectivity.senders.is_contiguous()
    assert connectivity.receivers.is_contiguous()
