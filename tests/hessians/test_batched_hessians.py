"""Hessians of several structures, and as an output of the potential."""

import pytest
import torch
from ase import Atoms
from ase.build import molecule
from torch.testing import assert_close

from equipot.graph.atomic_graph import collate
from equipot.hessians import hessian, hessians
from equipot.neighbors import build_graph
from tests.closed_form_models import LennardJones
from tests.potentials import random_potential


@pytest.fixture
def structures(ethanol, silica):
    """Of different sizes, periodic and not, one without atoms, one without edges."""
    lone = Atoms("H", positions=[[0.0, 0, 0]])
    return [molecule("H2O"), ethanol, Atoms(), lone, silica, molecule("H2O")]


@pytest.mark.parametrize("edges_at_once", [None, 1, 40, 10**6])
@pytest.mark.parametrize("kind", ["potential", "lennard_jones"])
def test_each_is_that_of_the_structure_alone(kind, edges_at_once, structures):
    model = {
        "potential": random_potential(lmax=1, num_layers=2),
        "lennard_jones": LennardJones(sigma=1.2, cutoff=4.0),
    }[kind]
    graphs = [build_graph(atoms, model.cutoff) for atoms in structures]

    together = hessians(model, collate(graphs), edges_at_once=edges_at_once)

    assert len(together) == len(structures)
    for block, graph in zip(together, graphs, strict=True):
        alone = hessian(model, graph)
        scale = float(alone.abs().max()) if alone.any() else 1.0
        assert block.shape == (graph.num_atoms, 3, graph.num_atoms, 3)
        assert_close(block, alone, rtol=0, atol=1e-13 * scale)


def test_a_part_without_edges_is_refused(structures):
    model = LennardJones()
    with pytest.raises(ValueError, match="edges_at_once must be positive, got 0"):
        hessians(model, build_graph(structures[0], model.cutoff), edges_at_once=0)


def test_output_of_the_potential(structures):
    model = random_potential(lmax=1, num_layers=2)
    graph = collate([build_graph(atoms, model.cutoff) for atoms in structures])
    expected = hessians(model, graph)

    prediction = model(graph, {"energy", "stress", "hessian"})
    plain = model(graph, {"energy", "forces", "stress"})

    assert prediction.forces is None
    assert plain.hessian is None
    assert_close(prediction.stress, plain.stress, equal_nan=True)
    assert_close(prediction.energy, plain.energy)
    assert not prediction.energy.requires_grad
    assert not prediction.stress.requires_grad
    for block, same in zip(prediction.hessian, expected, strict=True):
        assert not block.requires_grad
        assert_close(block, same, rtol=0, atol=1e-13)


def test_output_can_be_trained_on(ethanol):
    """In training mode its derivative by a weight is that of differences."""
    model = random_potential(lmax=1, num_layers=1).train()
    graph = build_graph(ethanol[:4], model.cutoff)
    weight = model.backbone.layers[0].radial.output.weight

    def loss():
        return model(graph, {"hessian"}).hessian[0].square().sum()

    (gradient,) = torch.autograd.grad(loss(), weight)

    with torch.no_grad():
        weight[0, 1] += 1e-5
        above = loss().item()
        weight[0, 1] -= 2e-5
        below = loss().item()
    assert float(gradient[0, 1]) == pytest.approx((above - below) / 2e-5, rel=1e-6)
