"""Low-rank adapters of weights."""

import copy

import pytest
import torch
from ase.build import molecule
from torch.testing import assert_close

from equipot.neighbors import build_graph
from equipot.training.adapters import (
    add_adapters,
    count_parameters,
    merged_weights,
    weight_name,
)
from tests.potentials import random_potential

GRAPH = build_graph(molecule("CH3CH2OH"), 4.0)


@pytest.fixture(params=["nequip", "sevennet"])
def potential(request):
    return random_potential((1, 6, 8), architecture=request.param, num_layers=2)


def test_new_adapters_change_nothing_and_merged_ones_are_ordinary(potential):
    names = [name for name, _ in potential.named_parameters()]
    ordinary = copy.deepcopy(potential)
    expected = potential(GRAPH)

    adapted = add_adapters(potential, 1, ["*"], seed=0)

    assert adapted
    assert_close(potential(GRAPH).forces, expected.forces, rtol=0, atol=0)
    assert {weight_name(name) for name, _ in potential.named_parameters()} == {*names}
    with torch.no_grad():
        for name, parameter in potential.named_parameters():
            if name.endswith(".left"):
                parameter.fill_(0.1)
    found = potential(GRAPH).forces
    assert not torch.equal(found, expected.forces)
    ordinary.load_state_dict(merged_weights(potential))
    assert_close(ordinary(GRAPH).forces, found, rtol=0, atol=0)


def test_a_step_of_an_adapter_is_relative_to_the_weights():
    potential = random_potential((1, 6, 8), num_layers=2, channels=16)
    before = {n: p.detach().clone() for n, p in potential.named_parameters()}
    add_adapters(potential, 4, ["*"], seed=0)
    with torch.no_grad():
        for name, parameter in potential.named_parameters():
            if name.endswith(".left"):
                parameter.fill_(0.01)

    after = merged_weights(potential)

    name = "backbone.layers.1.linear_in.weight"
    change = (after[name] - before[name]).norm() / before[name].norm()
    assert 0.005 < change < 0.02


def test_parts_that_are_not_trained_are_frozen():
    potential = random_potential((1, 6, 8), num_layers=2, channels=16)
    total = sum(p.numel() for p in potential.parameters())

    adapted = add_adapters(potential, 2, ["head.*"], seed=0)

    assert all(name.startswith("head.") for name in adapted)
    trained = [n for n, p in potential.named_parameters() if p.requires_grad]
    assert all(name.startswith("head.") for name in trained)
    found, number = count_parameters(potential)
    assert found == total
    assert number < total
