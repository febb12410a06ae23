"""Radial functions are interpolated in training steps only."""

import pytest
import torch
from ase.build import bulk
from torch.testing import assert_close

from equipot.neighbors import build_graph
from equipot.training.radial import AUTO_INTERVALS, interpolate_radial, radial_error
from tests.potentials import random_potential, statistics_of

NONE = statistics_of((1,), 4.0)


def potential_with(intervals, **architecture):
    potential = random_potential((29,), **architecture)
    interpolate_radial(potential, intervals, NONE)
    return potential


@pytest.mark.parametrize("architecture", ["nequip", "mace", "sevennet"])
def test_predictions_of_steps_approach_exact_ones(architecture):
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.1, seed=0)
    graph = build_graph(crystal, 4.0)
    potential = potential_with(256, architecture=architecture)
    exact = potential.eval()(graph, ("energy", "forces"))
    step = potential.train()(graph, ("energy", "forces"))
    assert not torch.equal(step.forces, exact.forces)
    assert_close(step.energy.detach(), exact.energy, rtol=1e-9, atol=1e-9)
    largest = float(exact.forces.abs().max())
    assert_close(step.forces.detach(), exact.forces, rtol=0, atol=1e-7 * largest)
    assert radial_error(potential) < 1e-8


def test_auto_is_for_single_precision_on_cpus():
    assert potential_with("auto").backbone.radial_table is None
    single = potential_with("auto", dtype="float32").backbone.radial_table
    assert single.intervals == AUTO_INTERVALS


def test_functions_of_the_elements_are_refused():
    settings = {"architecture": "mace", "distance_transform": "agnesi"}
    with pytest.raises(ValueError, match="depend on elements: set it to null"):
        potential_with(64, **settings)
    assert potential_with("auto", dtype="float32", **settings) is not None


def test_short_distances_are_refused():
    close = statistics_of((1,), 4.0)
    close.minimum_distances["H-H"] = 0.1
    with pytest.raises(ValueError, match=r"0.1 Å apart"):
        interpolate_radial(random_potential((1,)), 64, close)
