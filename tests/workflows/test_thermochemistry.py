"""Thermal energies and entropies equal ASE's."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms
from ase.thermochemistry import HarmonicThermo, IdealGasThermo, RRHOMode

from equipot.workflows.symmetry_number import rotational_symmetry_number
from equipot.workflows.thermochemistry import MAX_ROTOR_INERTIA, harmonic, ideal_gas
from equipot.workflows.vibrations import WAVENUMBER_PER_ROOT_CURVATURE, Vibrations

CASES = {
    "H2O": ("nonlinear", 2, [1595.0, 3657.0, 3756.0]),
    "CO2": ("linear", 2, [667.0, 667.0, 1333.0, 2349.0]),
    "HCN": ("linear", 1, [712.0, 712.0, 2097.0, 3311.0]),
    "Ar": ("monatomic", 1, []),
}


def modes(atoms, frequencies):
    """Vibrations with given frequencies in cm^-1."""
    frequencies = np.array(frequencies, dtype=float)
    count = len(frequencies)
    return Vibrations(
        atoms=atoms,
        energy=-3.7,
        max_force=0.0,
        curvatures=np.sign(frequencies)
        * (frequencies / WAVENUMBER_PER_ROOT_CURVATURE) ** 2,
        modes=np.zeros((count, len(atoms), 3)),
        reduced_masses=np.ones(count),
        rigid_frequencies=np.zeros(6),
    )


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("temperature", [150.0, 298.15, 900.0])
def test_an_ideal_gas_is_that_of_ase(name, temperature):
    geometry, number, frequencies = CASES[name]
    atoms = Atoms("Ar") if name == "Ar" else molecule(name)
    found = ideal_gas(modes(atoms, frequencies), temperature, 2e5, multiplicity=3)

    oracle = IdealGasThermo(
        vib_energies=np.array(frequencies) * units.invcm,
        geometry=geometry,
        potentialenergy=-3.7,
        atoms=atoms,
        symmetrynumber=number,
        spin=1,
    )
    enthalpy = oracle.get_enthalpy(temperature, verbose=False)
    gibbs = oracle.get_gibbs_energy(temperature, 2e5, verbose=False)
    assert found.symmetry_number == number
    assert found.enthalpy == pytest.approx(enthalpy, abs=1e-9)
    assert found.free_energy == pytest.approx(gibbs, abs=1e-9)
    assert found.zero_point_energy == pytest.approx(oracle.get_ZPE_correction())


def test_free_atoms_on_fixed_ones_are_those_of_ase():
    atoms = molecule("H2O")
    atoms.set_constraint(FixAtoms([0]))
    frequencies = [120.0, 300.0, 800.0, 1600.0, 3500.0, 3600.0]
    vibrations = modes(atoms, frequencies)
    found = harmonic(vibrations, 400.0)

    oracle = HarmonicThermo(np.array(frequencies) * units.invcm, potentialenergy=-3.7)
    helmholtz = oracle.get_helmholtz_energy(400.0, verbose=False)
    assert found.free_energy == pytest.approx(helmholtz, abs=1e-9)
    with pytest.raises(ValueError, match="use harmonic"):
        ideal_gas(vibrations)


def test_soft_modes_become_free_rotors_as_in_ase():
    frequencies = [5.0, 40.0, 100.0, 400.0, 2000.0]
    found = harmonic(modes(molecule("H2O"), frequencies), 300.0, quasi_rrho=True)

    inertia = MAX_ROTOR_INERTIA * units.kg * units.m**2
    expected = sum(
        RRHOMode(f * units.invcm, inertia, tau=100.0).get_entropy(300.0, False)
        for f in frequencies
    )
    assert found.entropy == pytest.approx(expected, rel=1e-6)
    plain = harmonic(modes(molecule("H2O"), frequencies), 300.0)
    assert found.entropy < plain.entropy
    assert found.enthalpy == plain.enthalpy


def test_the_reaction_coordinate_is_left_out():
    water = molecule("H2O")
    saddle = ideal_gas(modes(water, [-1500.0, 3657.0, 3756.0]))
    without = ideal_gas(modes(water, [3657.0, 3756.0]))

    assert saddle.free_energy == pytest.approx(without.free_energy, abs=1e-12)
    assert saddle.imaginary_modes == 1


def test_arguments_must_be_positive():
    with pytest.raises(ValueError, match="temperature must be positive and finite"):
        ideal_gas(modes(molecule("H2O"), [1.0]), 0.0)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("H2O", 2), ("NH3", 3), ("CH4", 12), ("C6H6", 12), ("C2H6", 6), ("C2H4", 4),
        ("CH3CH2OH", 1), ("CO2", 2), ("HCN", 1), ("SiH4", 12), ("N2", 2), ("CH3Cl", 3),
    ],
)  # fmt: skip
def test_symmetry_numbers_are_those_of_the_textbooks(name, number):
    atoms = molecule(name)
    atoms.rotate(33, (1, 2, 3))

    assert rotational_symmetry_number(atoms) == number
