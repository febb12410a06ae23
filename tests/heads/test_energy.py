"""Readouts of energies from features."""

import torch
from torch.testing import assert_close

from equipot.heads import EnergyHead


def test_the_readout_of_the_last_layer_alone_ignores_other_layers():
    head = EnergyHead([3, 5], 4, every_layer=False).double()
    first, last = torch.randn(2, 1, 3).double(), torch.randn(2, 1, 5).double()

    assert torch.equal(head([first, last]), head([2 * first, last]))
    assert not torch.equal(head([first, last]), head([first, 2 * last]))


def test_a_linear_readout_is_a_sum_over_scalars_of_all_layers():
    head = EnergyHead([3, 5], None).double()
    first, last = torch.randn(2, 4, 3).double(), torch.randn(2, 1, 5).double()

    expected = first[:, 0] @ head.early[0].weight[0] + last[:, 0] @ head.last.weight[0]
    assert_close(head([first, last]), expected)
    assert [w.shape for w in head.parameters()] == [(1, 3), (1, 5)]
