"""Frequencies against closed forms, and what a stationary point guarantees."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import FixAtoms, FixedPlane
from ase.vibrations import VibrationsData

from equipot.workflows import vibrations
from tests.workflows.analytic_potentials import lennard_jones, morse, valence

PER_ROOT = 521.4708983725064
"""cm^-1 of sqrt(1 eV/Å^2/amu)."""


def with_calculator(atoms, calculator):
    atoms.calc = calculator
    return atoms


def test_a_lennard_jones_dimer_has_its_closed_form_frequency():
    epsilon, sigma = 0.0103, 3.405
    calculator = lennard_jones(epsilon, sigma)
    dimer = Atoms("Ar2", [(0, 0, 0), (0, 0, 2 ** (1 / 6) * sigma)])
    dimer = with_calculator(dimer, calculator)

    found = vibrations(dimer, calculator.hessian)

    mass = dimer.get_masses()[0]
    curvature = 72 * epsilon / (2 ** (1 / 3) * sigma**2)
    expected = PER_ROOT * np.sqrt(curvature / (mass / 2))
    assert found.frequencies == pytest.approx([expected], rel=1e-8)
    assert found.terahertz == pytest.approx([expected * 0.0299792458], rel=1e-8)
    # In ASE's convention for the mode of unit length, a dimer's is half its atom's.
    assert found.reduced_masses == pytest.approx([mass], rel=1e-8)
    np.testing.assert_allclose(found.rigid_frequencies, 0, atol=1e-3)
    assert len(found.rigid_frequencies) == 5


def test_a_diatomic_has_the_frequency_of_its_morse_curve():
    depth, width, length = 4.618, 1.869, 1.275
    calculator = morse(depth, width, length)
    hcl = with_calculator(Atoms("HCl", [(0, 0, 0), (0.6, 0.8, 0)]), calculator)
    hcl.positions *= length
    h, cl = hcl.get_masses()

    found = vibrations(hcl, calculator.hessian)

    expected = PER_ROOT * np.sqrt(2 * depth * width**2 * (1 / h + 1 / cl))
    assert found.frequencies == pytest.approx([expected], rel=1e-8)
    assert found.zero_point_energy == pytest.approx(expected / 8065.544 / 2, rel=1e-6)


def test_a_linear_triatomic_has_four_modes_of_closed_form():
    k, length, bend = 99.0, 1.16, 6.0
    springs = {(0, 1): (k, length), (1, 2): (k, length)}
    calculator = valence(springs, {(0, 1, 2): (2 * bend, 0.5)})
    # The derivative of the cosine vanishes at 180 degrees: its excess acts as a spring
    # of -k_angle (cos - cos0) on each bend, 12 * 1.5 eV/rad^2.
    co2 = Atoms("OCO", [(0, 0, -length), (0, 0, 0), (0, 0, length)])
    co2 = with_calculator(co2, calculator)
    o, c = co2.get_masses()[:2]

    found = vibrations(co2, calculator.hessian)

    stretch = PER_ROOT * np.sqrt(k / o)
    antisymmetric = PER_ROOT * np.sqrt(k * (1 / o + 2 / c))
    expected = sorted([stretch, antisymmetric])
    assert len(found.frequencies) == 4
    np.testing.assert_allclose(np.sort(found.frequencies[found.real]), expected)
    inertia = (2 / o + 4 / c) / length**2
    bending = -PER_ROOT * np.sqrt(2 * bend * 1.5 * inertia)
    np.testing.assert_allclose(found.frequencies[:2], bending)
    assert found.num_imaginary == 2


def test_a_bent_molecule_has_the_frequencies_of_ase():
    calculator = valence(
        {(0, 1): (50.0, 0.97), (0, 2): (50.0, 0.97)}, {(1, 0, 2): (4.0, -0.25)}
    )
    angle = np.arccos(-0.25) / 2
    x, y = 0.97 * np.sin(angle), 0.97 * np.cos(angle)
    water = Atoms("OHH", [(0, 0, 0), (x, y, 0), (-x, y, 0)])
    water.rotate(40, (1, 2, 3))
    water = with_calculator(water, calculator)

    found = vibrations(water, calculator.hessian)

    oracle = VibrationsData(water, calculator.hessian(water))
    expected = np.sort(oracle.get_frequencies().real)[-3:]
    np.testing.assert_allclose(found.frequencies, expected, rtol=1e-9)
    assert found.zero_point_energy == pytest.approx(
        oracle.get_zero_point_energy(), abs=1e-6
    )
    np.testing.assert_allclose(np.linalg.norm(found.modes, axis=(1, 2)), 1)
    assert np.abs(found.rigid_frequencies).max() < 1e-2


def test_translations_and_rotations_are_projected_out_away_from_a_minimum():
    calculator = lennard_jones(0.1, 2.0)
    rng = np.random.default_rng(0)
    cluster = Atoms("Ar4", rng.normal(size=(4, 3)) * 2)
    cluster = with_calculator(cluster, calculator)

    with pytest.warns(UserWarning, match="not a stationary point"):
        found = vibrations(cluster, calculator.hessian)

    masses = cluster.get_masses()[:, None]
    arms = cluster.positions - cluster.get_center_of_mass()
    momentum = (masses * found.modes).sum(axis=1)
    angular = np.cross(arms, masses * found.modes).sum(axis=1)
    assert len(found.frequencies) == 6
    np.testing.assert_allclose(momentum, 0, atol=1e-10)
    np.testing.assert_allclose(angular, 0, atol=1e-10)
    assert np.abs(found.rigid_frequencies).max() > 1.0


def test_fixed_atoms_do_not_move_and_nothing_is_projected_out():
    calculator = morse(4.0, 1.9, 1.3)
    atoms = with_calculator(Atoms("HCl", [(0, 0, 0), (1.3, 0, 0)]), calculator)
    atoms.set_constraint(FixAtoms([1]))

    found = vibrations(atoms, calculator.hessian)

    expected = PER_ROOT * np.sqrt(2 * 4.0 * 1.9**2 / atoms.get_masses()[0])
    assert len(found.frequencies) == 3
    assert found.frequencies[-1] == pytest.approx(expected)
    np.testing.assert_array_equal(found.modes[:, 1], 0)
    assert len(found.rigid_frequencies) == 0


def test_what_cannot_be_analyzed_is_refused():
    calculator = lennard_jones(0.1, 2.0)
    atoms = with_calculator(molecule("H2O"), calculator)

    with pytest.raises(ValueError, match=r"shape \(3, 3, 3, 3\), got \(9, 9\)"):
        vibrations(atoms, lambda _: np.zeros((9, 9)))
    with pytest.raises(ValueError, match="not finite"):
        vibrations(atoms, lambda _: np.full((3, 3, 3, 3), np.nan))
    with pytest.raises(ValueError, match="symmetric Hessian"):
        vibrations(atoms, lambda _: np.arange(81.0).reshape(3, 3, 3, 3))
    atoms.set_constraint(FixedPlane(0, (0, 0, 1)))
    with pytest.raises(
        ValueError, match="support FixAtoms constraints only, got FixedPlane"
    ):
        vibrations(atoms, calculator.hessian)
