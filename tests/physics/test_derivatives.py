"""Forces, stress and their derivatives against finite differences of the energy."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from ase import Atoms
from torch.testing import assert_close

from equipot.autodiff.derivatives import differentiable_geometry, forces_and_stress
from equipot.graph.atomic_graph import collate
from equipot.neighbors import build_graph
from tests.potentials import random_potential

STEP = 1e-4
# Differences of energies of a few hundred eV cannot be better than their rounding.
ROUNDING = 4 * 2.2e-16 * 300 / STEP


STENCIL = (STEP, -STEP, 2 * STEP, -2 * STEP)


def energy_slopes(potential, *families):
    """Slopes at zero of the energies of families of structures, in one batch."""
    graphs = [
        build_graph(family(h), potential.cutoff) for family in families for h in STENCIL
    ]
    energies = potential(collate(graphs), ("energy",)).energy
    return [stencil_slope(row) for row in energies.view(-1, len(STENCIL)).tolist()]


def central_difference(function):
    """Fourth-order central difference at zero."""
    return stencil_slope([function(h) for h in STENCIL])


def stencil_slope(values):
    """Slope at zero of a function from its values at `STENCIL`."""
    ahead, behind, far_ahead, far_behind = values
    return (8 * (ahead - behind) - (far_ahead - far_behind)) / (12 * STEP)


@pytest.mark.parametrize("system", ["ethanol", "silica"])
def test_forces_are_the_gradient_of_the_energy(potential, system, request):
    atoms = request.getfixturevalue(system)
    forces = potential(build_graph(atoms, potential.cutoff), ("forces",)).forces

    coordinates = [(0, 0), (1, 2), (len(atoms) - 1, 1)]

    def displaced(h, atom, axis):
        moved = atoms.copy()
        moved.positions[atom, axis] += h
        return moved

    slopes = energy_slopes(
        potential, *(partial(displaced, atom=n, axis=k) for n, k in coordinates)
    )

    scale = forces.abs().max().item()
    assert [-forces[n, k].item() for n, k in coordinates] == pytest.approx(
        slopes, abs=1e-7 * scale + ROUNDING
    )


def test_stress_is_the_derivative_by_strain(potential, silica):
    graph = build_graph(silica, potential.cutoff)
    stress = potential(graph, ("stress",)).stress[0]

    components = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0)]

    def strained(h, i, j):
        strain = np.eye(3)
        strain[i, j] += h / 2
        strain[j, i] += h / 2
        deformed = silica.copy()
        deformed.set_cell(silica.cell.array @ strain, scale_atoms=True)
        return deformed

    slopes = energy_slopes(
        potential, *(partial(strained, i=i, j=j) for i, j in components)
    )

    volume = silica.get_volume()
    scale = stress.abs().max().item()
    assert [stress[i, j].item() for i, j in components] == pytest.approx(
        [slope / volume for slope in slopes], abs=1e-7 * scale + ROUNDING
    )
    assert_close(stress, stress.T, rtol=0, atol=1e-14)


def test_stress_of_a_slab_is_that_of_strains_in_its_plane(silica):
    potential = random_potential(lmax=1, num_layers=1)
    silica.pbc = [True, True, False]
    graph = build_graph(silica, potential.cutoff)

    stress = potential(graph).stress[0]

    a, b = silica.cell.array[:2]
    normal = np.cross(a, b) / np.linalg.norm(np.cross(a, b))
    assert_close(stress @ torch.from_numpy(normal), torch.zeros(3).double())
    first = a / np.linalg.norm(a)
    second = np.cross(normal, first)
    strains = [
        (np.outer(u, v) + np.outer(v, u)) / 2
        for u, v in ((first, first), (second, second), (first, second))
    ]

    def strained(h, strain):
        atoms = silica.copy()
        atoms.set_cell(silica.cell.array @ (np.eye(3) + h * strain))
        atoms.positions = silica.positions @ (np.eye(3) + h * strain)
        return atoms

    slopes = energy_slopes(
        potential, *(partial(strained, strain=strain) for strain in strains)
    )

    volume = silica.get_volume()
    assert [np.sum(stress.numpy() * strain) for strain in strains] == pytest.approx(
        [slope / volume for slope in slopes],
        abs=1e-7 * stress.abs().max().item() + ROUNDING,
    )


def test_molecules_have_no_stress(ethanol):
    potential = random_potential(lmax=1, num_layers=1)

    prediction = potential(build_graph(ethanol, potential.cutoff))

    assert prediction.stress.isnan().all()
    assert prediction.forces.isfinite().all()


def test_compressed_cell_has_negative_stress(silica):
    """Positive in tension: a cell squeezed onto the repulsion of the nuclei pushes."""
    potential = random_potential(zbl=True)
    squeezed = silica.copy()
    squeezed.set_cell(silica.cell.array * 0.35, scale_atoms=True)

    graph = build_graph(squeezed, potential.cutoff)

    stress = potential(graph, ("stress",)).stress[0]
    assert stress.trace() < 0


def smoothness_probe(potential, distance):
    """Energy, force and curvature along a bond, for a triangle of atoms."""
    positions = [[0.0, 0, 0], [0, 1.4, 0.1], [distance, 0.3, 0]]
    graph = build_graph(Atoms("CHO", positions=positions), potential.cutoff + 0.5)
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    direction = torch.zeros(3, 3, dtype=torch.float64)
    direction[2, 0] = 1
    moved = replace(graph, positions=graph.positions + shift * direction)
    energy = potential(moved, ("energy",), create_graph=True).energy.sum()
    (first,) = torch.autograd.grad(energy, shift, create_graph=True)
    (second,) = torch.autograd.grad(first, shift)
    return torch.stack([energy.detach(), first.detach(), second])


def test_smooth_to_second_order_at_the_cutoff(potential):
    """Nothing jumps when an atom comes within reach, whichever edges are listed."""
    rc = potential.cutoff
    # the distance at which the third atom leaves the sphere of the first
    critical = (rc**2 - 0.3**2) ** 0.5
    h = 1e-5

    inside = smoothness_probe(potential, critical - h)
    outside = smoothness_probe(potential, critical + h)

    # a C2 function with a bounded third derivative changes by at most that times 2 h
    assert_close(inside, outside, rtol=0, atol=50 * h)
    beyond = smoothness_probe(potential, critical + 5.0)
    assert_close(beyond[1:], torch.zeros(2).double(), rtol=0, atol=1e-12)


def test_edges_beyond_the_cutoff_do_not_matter(potential, silica):
    near = potential(build_graph(silica, potential.cutoff), ("energy", "forces"))
    far = potential(build_graph(silica, potential.cutoff + 1.5), ("energy", "forces"))

    assert_close(near.energy, far.energy, rtol=0, atol=1e-10)
    assert_close(near.forces, far.forces, rtol=0, atol=1e-10)


def test_training_mode_differentiates_forces_by_the_weights(ethanol):
    potential = random_potential(num_layers=2).train()
    graph = build_graph(ethanol, potential.cutoff)
    weight = potential.backbone.layers[0].radial.output.weight

    def loss():
        return potential(graph, ("forces",)).forces.pow(2).sum()

    (gradient,) = torch.autograd.grad(loss(), weight)

    def shifted(h):
        with torch.no_grad():
            weight[1, 2] += h
        value = loss().item()
        with torch.no_grad():
            weight[1, 2] -= h
        return value

    expected = central_difference(shifted)
    assert gradient[1, 2].item() == pytest.approx(expected, rel=1e-7)


def test_evaluation_mode_detaches(potential, ethanol):
    prediction = potential(build_graph(ethanol, potential.cutoff))

    assert not prediction.energy.requires_grad
    assert not prediction.forces.requires_grad


def test_energy_without_a_graph_is_refused(ethanol):
    graph = build_graph(ethanol, 3.0)
    geometry = differentiable_geometry(graph, strain=False)
    with pytest.raises(ValueError, match="no graph to differentiate: compute it"):
        forces_and_stress(
            torch.zeros(1, dtype=torch.float64), geometry, graph, create_graph=False
        )
