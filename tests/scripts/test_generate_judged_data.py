"""What the models for the judges learn from: a closed form, and clusters that touch."""

import generate_judged_data as data
import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.data import covalent_radii
from judges.teachers import PAIR_CUTOFF, MorsePairs, morse


def test_forces_and_stress_of_pairs_are_derivatives_of_their_energy():
    atoms = bulk("AlN", "zincblende", a=4.5)
    atoms.rattle(0.1, seed=1)
    atoms.calc = MorsePairs()

    forces, stress = (
        calculate_numerical_forces(atoms),
        calculate_numerical_stress(atoms),
    )

    assert np.abs(forces).max() > 0.1
    np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-7)
    np.testing.assert_allclose(atoms.get_stress(), stress, atol=1e-9)


def test_pairs_are_deepest_near_the_sum_of_their_radii_and_end_at_the_cutoff():
    well = 1.5
    distances = np.linspace(0.5, PAIR_CUTOFF, 4501)

    energies, slopes = morse(distances, well)

    assert distances[energies.argmin()] == pytest.approx(well, rel=0.05)
    assert energies[-1] == 0
    assert slopes[-1] == 0


def test_atoms_of_clusters_neither_overlap_nor_lose_each_other():
    rng = np.random.default_rng(0)
    for _ in range(50):
        atoms = data.cluster(rng)
        distances = atoms.get_all_distances() + 10 * np.eye(len(atoms))
        radii = covalent_radii[atoms.numbers]
        shares = distances / np.add.outer(radii, radii)

        assert shares.min() > 0.69
        assert (shares.min(axis=1) <= 3.0).all()


def test_labels_are_those_of_the_teacher_with_stress_row_by_row():
    atoms = data.strained_copper(np.random.default_rng(1))
    teacher = data.metal()

    frame = data.label(atoms, teacher)

    stress = frame.info["REF_stress"].reshape(3, 3)
    assert frame.info["REF_energy"] == teacher.get_potential_energy(atoms)
    assert stress[1, 2] == stress[2, 1] == teacher.get_stress(atoms)[3]
