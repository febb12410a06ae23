"""Laws that every potential obeys whatever its weights."""

import numpy as np
import pytest
import torch
from ase import Atoms
from torch.testing import assert_close

from equipot.graph.atomic_graph import collate
from equipot.neighbors import build_graph
from equipot.so3 import random_rotation
from tests.potentials import ARCHITECTURES, random_potential

ALL = ("energy", "forces", "stress")


def predict(potential, atoms):
    return potential(build_graph(atoms, potential.cutoff), ALL)


def rotated(atoms, matrix):
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ matrix.T)
    turned.positions = atoms.positions @ matrix.T
    return turned


def is_reflection_symmetric(potential):
    return potential.backbone.symmetry == "O(3)"


@pytest.fixture(params=["ethanol", "silica"])
def atoms(request):
    return request.getfixturevalue(request.param)


def test_rotation(potential, atoms, generator):
    matrix = random_rotation(generator)
    before = predict(potential, atoms)

    after = predict(potential, rotated(atoms, matrix.numpy()))

    assert before.forces.abs().max() > 1e-3
    assert_close(after.energy, before.energy, rtol=0, atol=1e-10)
    assert_close(after.forces, before.forces @ matrix.T, rtol=0, atol=1e-10)
    expected = matrix @ before.stress @ matrix.T
    assert_close(after.stress, expected, rtol=0, atol=1e-10, equal_nan=True)


def test_inversion(potential, ethanol):
    before = predict(potential, ethanol)
    after = predict(potential, rotated(ethanol, -np.eye(3)))

    energy, forces = after.energy - before.energy, after.forces + before.forces
    if is_reflection_symmetric(potential):
        assert energy.abs().max() < 1e-10
        assert forces.abs().max() < 1e-10
    else:  # what symmetry="SO(3)" gives up, and the others would fail by
        assert forces.abs().max() > 1e-6


@pytest.mark.parametrize("name", sorted(set(ARCHITECTURES) - {"so3", "sevennet"}))
def test_inversion_of_a_crystal(name, silica):
    potential = random_potential(**ARCHITECTURES[name])
    before = predict(potential, silica)

    after = predict(potential, rotated(silica, -np.eye(3)))

    assert_close(after.energy, before.energy, rtol=0, atol=1e-10)
    assert_close(after.forces, -before.forces, rtol=0, atol=1e-10)
    assert_close(after.stress, before.stress, rtol=0, atol=1e-10, equal_nan=True)


def test_translation(potential, atoms):
    before = predict(potential, atoms)
    moved = atoms.copy()
    moved.positions += [3.1, -20.7, 0.3]

    after = predict(potential, moved)

    assert_close(after.energy, before.energy, rtol=0, atol=1e-10)
    assert_close(after.forces, before.forces, rtol=0, atol=1e-10)


def test_permutation(potential, atoms):
    order = np.random.default_rng(0).permutation(len(atoms))
    before = predict(potential, atoms)

    after = predict(potential, atoms[order])

    assert_close(after.energy, before.energy, rtol=0, atol=1e-10)
    assert_close(after.forces, before.forces[order], rtol=0, atol=1e-10)


def test_forces_sum_to_zero(potential, atoms):
    forces = predict(potential, atoms).forces

    assert forces.sum(0).abs().max() < 1e-10


def test_supercell_is_a_multiple_of_the_cell(potential, silica):
    cell = predict(potential, silica)

    supercell = predict(potential, silica.repeat((2, 1, 3)))

    assert_close(supercell.energy, 6 * cell.energy, rtol=0, atol=1e-10)
    assert_close(supercell.forces, cell.forces.repeat(6, 1), rtol=0, atol=1e-10)
    assert_close(supercell.stress, cell.stress, rtol=0, atol=1e-10)


def test_image_of_an_atom_is_the_atom(potential, silica):
    before = predict(potential, silica)
    moved = silica.copy()
    moved.positions[1] += 2 * silica.cell.array[0] - silica.cell.array[2]

    after = predict(potential, moved)

    assert_close(after.energy, before.energy, rtol=0, atol=1e-10)
    assert_close(after.forces, before.forces, rtol=0, atol=1e-10)


def test_distant_systems_add(potential, ethanol):
    other = ethanol[:5]
    far = other.copy()
    far.positions += [50.0, 0, 0]

    together = predict(potential, ethanol + far)

    parts = [predict(potential, ethanol), predict(potential, other)]
    energy = parts[0].energy + parts[1].energy
    forces = torch.cat([p.forces for p in parts])
    assert_close(together.energy, energy, rtol=0, atol=1e-10)
    assert_close(together.forces, forces, rtol=0, atol=1e-10)


def test_isolated_atoms_have_exactly_their_reference_energy(potential):
    prediction = predict(potential, Atoms("O"))

    assert prediction.energy.item() == -13.6 * 8
    assert not prediction.forces.any()


def test_batch_equals_single_structures(potential, ethanol, silica):
    structures = [ethanol, silica, Atoms("H"), ethanol[:4]]
    graphs = [build_graph(atoms, potential.cutoff) for atoms in structures]

    batch = potential(collate(graphs), ALL)

    single = [potential(graph, ALL) for graph in graphs]
    for name in ("energy", "energies", "forces", "stress"):
        expected = torch.cat([getattr(p, name) for p in single])
        assert_close(getattr(batch, name), expected, rtol=0, atol=1e-10, equal_nan=True)


def test_energies_of_atoms_sum_to_the_energy(potential, atoms):
    prediction = predict(potential, atoms)

    assert_close(prediction.energies.sum(), prediction.energy[0], rtol=1e-14, atol=0)


def test_stress_of_a_molecule_is_absent_and_not_zero(potential, ethanol):
    assert predict(potential, ethanol).stress.isnan().all()


def test_no_atoms_have_no_energy(potential):
    prediction = predict(potential, Atoms())

    assert prediction.energy.tolist() == [0.0]
    assert prediction.forces.shape == (0, 3)


def test_atoms_in_the_same_place_give_finite_numbers(potential):
    atoms = Atoms("OH2", positions=[[0, 0, 0], [1, 0, 0], [1, 0, 0]])

    prediction = predict(potential, atoms)

    assert prediction.energy.isfinite().all()
    assert prediction.forces.isfinite().all()
