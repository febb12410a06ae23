"""A committee is the mean of its members, and tells how far they are apart."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from equipot.hessians import hessian
from equipot.models import Committee
from equipot.neighbors import build_graph
from tests.potentials import random_potential


@pytest.fixture(scope="module")
def members():
    """Potentials that differ in weights, architecture and cutoff."""
    return [
        random_potential(lmax=1, num_layers=2),
        random_potential(lmax=1, num_layers=1, cutoff=3.5),
        random_potential(lmax=0, num_layers=2, cutoff=4.5),
    ]


def test_predictions_are_means_and_standard_deviations(members, silica):
    committee = Committee(members)
    graph = build_graph(silica, committee.cutoff)
    outputs = {"energy", "forces", "stress"}

    found = committee(graph, outputs)
    alone = [member(graph, outputs) for member in members]

    for name in ("energy", "energies", "forces", "stress"):
        values = torch.stack([getattr(p, name) for p in alone])
        assert_close(getattr(found, name), values.mean(0))
    energies = np.array([float(p.energy) for p in alone])
    assert float(found.energy_spread) == pytest.approx(energies.std(ddof=1))
    forces = np.array([p.forces.numpy() for p in alone])
    spread = np.sqrt((forces.std(axis=0, ddof=1) ** 2).sum(axis=1))
    np.testing.assert_allclose(found.forces_spread, spread)


def test_forces_are_derivatives_of_the_mean_energy(members, ethanol):
    committee = Committee(members)
    step = 1e-4
    ethanol.positions[4, 1] += step
    above = committee(build_graph(ethanol, committee.cutoff), {"energy"}).energy
    ethanol.positions[4, 1] -= 2 * step
    below = committee(build_graph(ethanol, committee.cutoff), {"energy"}).energy
    ethanol.positions[4, 1] += step

    found = committee(build_graph(ethanol, committee.cutoff), {"forces"}).forces

    slope = float(above - below) / (2 * step)
    assert float(found[4, 1]) == pytest.approx(-slope, abs=1e-6)


def test_its_hessian_is_the_mean(members, ethanol):
    committee = Committee(members)
    graph = build_graph(ethanol, committee.cutoff)

    found = hessian(committee, graph)

    assert_close(found, torch.stack([hessian(m, graph) for m in members]).mean(0))
    (block,) = committee(graph, {"hessian"}).hessian
    assert_close(block, found)


def test_it_reaches_as_far_as_the_farthest_member(members):
    committee = Committee(members)

    assert committee.cutoff == 4.5
    assert committee.num_layers == 2
    assert committee.elements == members[0].elements
    assert committee.backend == "clebsch_gordan"
    assert committee.dtype == torch.float64
    assert committee.device.type == "cpu"


def test_equal_members_have_no_spread(members, ethanol):
    committee = Committee([members[0], members[0]])

    found = committee(build_graph(ethanol, committee.cutoff), {"energy", "forces"})

    assert float(found.energy_spread) == 0
    assert not found.forces_spread.any()
    assert committee(build_graph(ethanol, 4.5), {"energy"}).forces_spread is None


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([], "at least two potentials, got 1"),
        ([{"elements": (1, 6)}], "must agree in elements"),
        ([{"dtype": "float32"}], "must agree in dtype, got torch.float64, torch.float"),
    ],
)
def test_members_that_do_not_fit_are_refused(members, others, message):
    with pytest.raises(ValueError, match=message):
        Committee([members[0], *(random_potential(**other) for other in others)])
