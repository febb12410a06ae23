"""SevenNet: what its envelope XPLOR does, and self-connections of each layer."""

import numpy as np
import pytest
import torch
from ase import Atoms
from torch.testing import assert_close

from equipot.models import Potential
from equipot.neighbors import build_graph
from equipot.nn import ElementLinearPerDegree, LinearPerDegree
from tests.potentials import random_potential

ONSET, CUTOFF = 3.0, 4.0


@pytest.fixture
def potential() -> Potential:
    return random_potential(
        architecture="sevennet",
        cutoff=CUTOFF,
        envelope="xplor",
        envelope_onset=ONSET,
    )


def stiffness(potential: Potential, length: float) -> float:
    """Second derivative of the energy of a dimer by its length in eV/Å^2."""
    graph = build_graph(Atoms("HO", [[0, 0, 0], [0, 0, length]]), potential.cutoff)
    return float(potential(graph, ("hessian",)).hessian[0][1, 2, 1, 2])


def test_hessians_jump_where_the_backbone_says(potential):
    assert potential.backbone.hessian_jumps == (ONSET, CUTOFF)
    for jump in potential.backbone.hessian_jumps:
        below, above = (stiffness(potential, jump + d) for d in (-1e-6, 1e-6))
        assert abs(above - below) > 1e-5
    smooth = random_potential(architecture="sevennet", cutoff=CUTOFF)
    assert smooth.backbone.hessian_jumps == ()


@pytest.mark.parametrize("length", [1.3, 3.5])
def test_second_derivatives_are_those_of_the_forces_elsewhere(potential, length):
    atoms = Atoms("HOC", [[0, 0, 0], [0, 0, length], [0.9, 0.7, 0.1]])
    hessian = potential(build_graph(atoms, CUTOFF), ("hessian",)).hessian[0]
    step = 1e-4

    for axis in range(3):
        forces = []
        for sign in (-1, 1):
            moved = atoms.copy()
            moved.positions[1, axis] += sign * step
            forces.append(potential(build_graph(moved, CUTOFF), ("forces",)).forces)
        expected = (forces[0] - forces[1]) / (2 * step)
        assert_close(hessian[1, axis], expected, rtol=0, atol=1e-7)


def test_self_connections_may_differ_between_layers():
    kinds = ("element", "linear", "linear")
    layers = random_potential(architecture="sevennet", self_connection=kinds).backbone

    found = [type(layer.self_connection) for layer in layers.layers]

    assert found == [ElementLinearPerDegree, LinearPerDegree, LinearPerDegree]


def test_solid_harmonics_are_those_of_the_vectors():
    """Weights of harmonics of degree l fall with the power l of the length."""
    surface, solid = (
        random_potential(architecture="sevennet", harmonics=kind, num_layers=2)
        for kind in ("surface", "solid")
    )
    # at a length of 1 Å both are the same function
    solid.load_state_dict(
        {
            name: surface.state_dict()[
                name.replace("radial.mlp", "radial").replace("basis.basis", "basis")
            ]
            for name in solid.state_dict()
        }
    )
    chain = Atoms("HOC", np.array([[0, 0, 0], [0, 0, 1.0], [0, 0, 2.0]]))
    pair = chain[:2]

    def energy(potential: Potential, atoms: Atoms) -> torch.Tensor:
        return potential(build_graph(atoms, CUTOFF), ("energy",)).energy

    assert_close(energy(surface, pair), energy(solid, pair), rtol=0, atol=1e-12)
    assert (energy(surface, chain) - energy(solid, chain)).abs() > 1e-6
