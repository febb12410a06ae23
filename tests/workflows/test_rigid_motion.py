"""Motions that cost no energy are left out, and no others."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms

from equipot.workflows import relax, vibrations
from equipot.workflows.thermochemistry import harmonic, ideal_gas
from tests.workflows.analytic_potentials import (
    morse,
    nearest_images,
    stillinger_weber_silicon,
    valence,
)

PER_ROOT = 521.4708983725064
"""cm^-1 of sqrt(1 eV/Å^2/amu)."""


def chain(symbols, lengths, stiffness, bend):
    """A linear molecule along z with springs for its bonds and bends at 180 degrees."""
    bonds = {
        (n, n + 1): (k, r)
        for n, (k, r) in enumerate(zip(stiffness, lengths, strict=True))
    }
    # The derivative of (cos - cos0)^2 with cos0 = -2 is that of a harmonic bend.
    angles = {(n, n + 1, n + 2): (bend, -2.0) for n in range(len(lengths) - 1)}
    heights = np.concatenate([[0.0], np.cumsum(lengths)])
    atoms = Atoms(symbols, [(0, 0, z) for z in heights])
    atoms.calc = valence(bonds, angles)
    return atoms


MOLECULES = {
    "N2O": ("NNO", (1.128, 1.184), (114.0, 74.0), 4.0),
    "CO2": ("OCO", (1.16, 1.16), (99.0, 99.0), 4.8),
    "HCN": ("HCN", (1.065, 1.153), (38.0, 116.0), 1.6),
    "C2H2": ("HCCH", (1.06, 1.20, 1.06), (38.0, 100.0, 38.0), 1.5),
    "polyyne": ("HC" + "C" * 14 + "CH", (1.06, *(1.21, 1.37) * 7, 1.21, 1.06),
                (38.0, *(98.0, 45.0) * 7, 98.0, 38.0), 1.0),
}  # fmt: skip


def turned(atoms, decimals):
    """In a general orientation, with coordinates as a file gives them."""
    atoms.rotate(37, (1, 2, 3))
    atoms.positions = np.round(atoms.positions, decimals)
    return atoms


@pytest.mark.parametrize("decimals", [1, 2, 4, 10])
@pytest.mark.parametrize("name", MOLECULES)
def test_a_linear_molecule_keeps_its_bends_however_it_is_rounded(name, decimals):
    exact = chain(*MOLECULES[name])
    expected = vibrations(exact, exact.calc.hessian)
    assert len(expected.frequencies) == 3 * len(exact) - 5
    start = turned(exact.copy(), decimals)
    start.calc = exact.calc

    atoms = relax(start, exact.calc.hessian, fmax=1e-4).atoms
    atoms.calc = exact.calc
    found = vibrations(atoms, exact.calc.hessian)

    assert found.zero_point_energy == pytest.approx(
        expected.zero_point_energy, abs=1e-4
    )
    gas = ideal_gas(found, 298.15)
    assert found.rigid.rotations == 2
    assert gas.free_energy == pytest.approx(ideal_gas(expected).free_energy, abs=1e-3)
    assert gas.symmetry_number == (1 if name in ("N2O", "HCN") else 2)


def test_a_linear_molecule_that_is_not_relaxed_keeps_its_bends():
    exact = chain(*MOLECULES["N2O"])
    rounded = turned(exact.copy(), 2)
    rounded.calc = exact.calc

    with pytest.warns(UserWarning, match="not a stationary point"):
        found = vibrations(rounded, exact.calc.hessian)

    assert len(found.frequencies) == 4
    expected = vibrations(exact, exact.calc.hessian).zero_point_energy
    assert found.zero_point_energy == pytest.approx(expected, abs=5e-3)


def bent(symbols, degrees, length=0.97, stiffness=50.0):
    cosine = np.cos(np.radians(degrees))
    half = np.radians(degrees) / 2
    x, y = length * np.sin(half), length * np.cos(half)
    atoms = Atoms(symbols, [(0, 0, 0), (x, y, 0), (-x, y, 0)])
    springs = {(0, 1): (stiffness, length), (0, 2): (stiffness, length)}
    atoms.calc = valence(springs, {(1, 0, 2): (4.0, cosine)})
    return atoms


@pytest.mark.parametrize(
    ("symbols", "degrees", "axes"),
    [("OHH", 104.5, 3), ("SHH", 92.0, 3), ("COO", 160.0, 3), ("CHH", 174.0, 2)],
)
def test_a_bent_molecule_turns_about_three_axes(symbols, degrees, axes):
    """At 174 degrees a quantum of the third rotation exceeds that of the bend."""
    atoms = bent(symbols, degrees, stiffness=25.0)

    found = vibrations(atoms, atoms.calc.hessian)

    assert found.rigid.rotations == axes
    assert len(found.frequencies) == 9 - 3 - axes


def test_a_long_molecule_with_one_hydrogen_aside_is_not_linear():
    """Its smallest moment of inertia is 0.2 % of the largest."""
    n = 8
    atoms = Atoms(
        "C" * n + "OH", [(0, 0, 1.3 * k) for k in range(n + 1)] + [(0, 0.93, 10.7)]
    )
    bonds = {(k, k + 1): (60.0, 1.3) for k in range(n)}
    length = float(np.linalg.norm(atoms.positions[-1] - atoms.positions[-2]))
    bonds[(n, n + 1)] = (48.0, length)
    angles = {(k, k + 1, k + 2): (1.0, -2.0) for k in range(n - 1)}
    angles[(n - 1, n, n + 1)] = (4.0, -0.3 / length)
    atoms.calc = valence(bonds, angles)

    found = vibrations(atoms, atoms.calc.hessian)

    assert found.rigid.rotations == 3
    assert len(found.frequencies) == 3 * len(atoms) - 6


@pytest.fixture
def water():
    return bent("OHH", 104.5)


def boxed(atoms, size, pbc=True, shift=(0.0, 0.0, 0.0)):
    """In a periodic box, its atoms wherever wrapping puts them."""
    box = atoms.copy()
    box.set_cell([size] * 3)
    box.pbc = pbc
    box.positions += shift
    box.calc = atoms.calc
    return box


def in_every_image(atoms):
    """The same springs between the nearest images, as a periodic potential has."""
    calculator = nearest_images(
        lambda r: 4.0 * (1 - (-1.9 * (r - 1.3)).exp()) ** 2 - 4.0, 2.5
    )
    atoms.calc = calculator
    return atoms


@pytest.mark.parametrize("pbc", [True, (True, True, False), (False, False, True)])
@pytest.mark.parametrize("shift", [(5.0, 5.0, 5.0), (0.1, -0.2, 0.0)])
def test_a_molecule_in_a_box_is_the_molecule_in_the_gas(pbc, shift):
    free = in_every_image(Atoms("HCl", [(0, 0, 0), (0.6, 0.8, 0)]))
    free.positions *= 1.3
    box = boxed(free, 15.0, pbc, shift)
    box.wrap()
    gas = ideal_gas(vibrations(free, free.calc.hessian))

    found = vibrations(box, free.calc.hessian)

    assert len(found.frequencies) == 1
    assert found.rigid.described() == "3 translations, 2 rotations"
    assert ideal_gas(found).free_energy == pytest.approx(gas.free_energy, abs=1e-9)
    assert found.per == "per molecule of HCl"


def test_a_bent_molecule_in_a_box_is_that_in_the_gas(water):
    box = boxed(water, 12.0)

    found = ideal_gas(vibrations(box, water.calc.hessian))

    gas = ideal_gas(vibrations(water, water.calc.hessian))
    assert found.free_energy == pytest.approx(gas.free_energy, abs=1e-12)
    assert found.symmetry_number == 2


def test_an_atom_in_a_box_only_translates():
    argon = in_every_image(Atoms("Ar", cell=[20] * 3, pbc=True))

    found = ideal_gas(vibrations(argon, argon.calc.hessian))

    assert found.entropies["rotation"] == 0
    assert found.model == "ideal gas"


def test_a_crystal_turns_nowhere():
    silicon = bulk("Si", "diamond", a=5.431)
    silicon.calc = stillinger_weber_silicon()

    found = vibrations(silicon, silicon.calc.hessian)

    assert found.rigid.described() == "3 translations"
    assert found.per == "per cell of Si2 (2 atoms)"
    thermal = harmonic(found)
    assert thermal.per == found.per
    assert any("at Γ only" in note for note in thermal.notes)
    with pytest.raises(ValueError, match="use harmonic"):
        ideal_gas(found)


def test_one_atom_of_a_crystal_is_no_molecule():
    """Its second derivatives vanish as those of a free atom do."""
    metal = bulk("Al", "fcc", a=4.05)
    metal.calc = nearest_images(lambda r: 0.3 * (1 - (2.86 - r).exp()) ** 2, 3.5)

    found = vibrations(metal, metal.calc.hessian)

    assert found.rigid.molecule is None
    with pytest.raises(ValueError, match="use harmonic"):
        ideal_gas(found)


def test_a_wire_turns_about_its_direction_only():
    """A zigzag of springs to nearest and next-nearest neighbors."""
    cell = 2.0
    wire = Atoms("C2", [(0, 0.4, 0), (cell / 2, -0.4, 0)], cell=[cell, 20, 20])
    wire.pbc = True
    near = float(np.hypot(cell / 2, 0.8))
    wire.calc = nearest_images(
        lambda r: 20.0 * (r - near) ** 2 * (r < 1.6)
        + 10.0 * (r - cell) ** 2 * ((r > 1.6) & (r < 2.3)), 2.3,
    )  # fmt: skip

    found = vibrations(wire, wire.calc.hessian)

    assert found.rigid.described() == "3 translations, 1 rotation"
    assert len(found.frequencies) == 2
    assert found.molecule is None
    slab = wire.copy()
    slab.set_cell([cell, 2.0, 20])
    slab.calc = wire.calc
    with pytest.warns(UserWarning, match="not a stationary"):
        assert vibrations(slab, slab.calc.hessian).rigid.rotations == 0


@pytest.mark.parametrize("pbc", [False, True])
def test_molecules_that_do_not_interact_are_given_one_by_one(water, pbc):
    other = water.copy()
    other.rotate(50, (1, 1, 0))
    other.translate((9.0, 0, 0))
    two = water + other
    two.set_cell([30, 30, 30])
    two.pbc = pbc
    bonds = {(a, b): (50.0, 0.97) for a, b in ((0, 1), (0, 2), (3, 4), (3, 5))}
    cosine = np.cos(np.radians(104.5))
    angles = {(1, 0, 2): (4.0, cosine), (4, 3, 5): (4.0, cosine)}
    two.calc = valence(bonds, angles)

    found = vibrations(two, two.calc.hessian)

    alone = vibrations(water, water.calc.hessian)
    np.testing.assert_allclose(
        found.frequencies, np.repeat(alone.frequencies, 2), rtol=1e-6
    )
    assert found.rigid.bodies == 2
    with pytest.raises(ValueError, match="2 parts that do not interact"):
        ideal_gas(found)


def test_a_molecule_that_is_far_but_feels_the_other_does_not_move_freely():
    """A spring of 9 Å, beyond the range that is assumed."""
    atoms = Atoms("OHOH", [(0, 0, 0), (0.97, 0, 0), (0, 9, 0), (0.97, 9, 0)])
    bonds = {(0, 1): (50.0, 0.97), (2, 3): (50.0, 0.97)}
    far = float(np.hypot(0.97, 9))
    bonds |= {(0, 2): (0.5, 9.0), (1, 3): (0.5, 9.0), (0, 3): (0.5, far)}
    bonds |= {(1, 2): (0.5, far)}
    atoms.calc = valence(bonds, {})

    found = vibrations(atoms, atoms.calc.hessian)

    assert found.rigid.described() == "3 translations, 3 rotations"
    assert len(found.frequencies) == 6


@pytest.mark.parametrize(("fixed", "zeros"), [([0], 3), ([0, 1], 1), ([0, 1, 2], 0)])
def test_motions_about_fixed_atoms_have_no_frequency_and_no_entropy(fixed, zeros):
    """Ammonia-like springs; one axis is left by two fixed atoms, none by three."""
    atoms = Atoms("NHHH", [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)])
    bonds = {(0, n): (40.0, 1.0) for n in (1, 2, 3)}
    angles = {(1, 0, 2): (4.0, 0.0), (2, 0, 3): (4.0, 0.0), (1, 0, 3): (4.0, 0.0)}
    atoms.calc = valence(bonds, angles)
    atoms.set_constraint(FixAtoms(fixed))

    found = vibrations(atoms, atoms.calc.hessian)

    assert len(found.frequencies) == 12 - 3 * len(fixed)
    assert (found.frequencies == 0).sum() == zeros
    np.testing.assert_array_equal(found.modes[:, fixed], 0)
    if zeros:
        with pytest.raises(ValueError, match="is zero within its resolution"):
            harmonic(found)
        rotors = harmonic(found, quasi_rrho=True)
        assert np.isfinite(rotors.free_energy)
        assert any("free rotor" in note for note in rotors.notes)
    else:
        assert np.isfinite(harmonic(found).free_energy)
    assert f"{len(fixed)} of them fixed" in found.per


def test_a_molecule_beside_fixed_atoms_that_it_does_not_feel_is_not_bound(water):
    atoms = water + Atoms("Ar", [(15, 0, 0)])
    atoms.set_constraint(FixAtoms([3]))
    atoms.calc = water.calc

    found = vibrations(atoms, atoms.calc.hessian)

    assert (found.frequencies == 0).sum() == 6
    with pytest.raises(ValueError, match="is zero within its resolution"):
        harmonic(found)


def test_an_energy_that_depends_on_the_orientation_is_an_error(water):
    """A field along x, stationary because the molecule is symmetric to it."""

    def with_field(atoms):
        values = water.calc.hessian(atoms)
        for n in range(3):
            values[n, 0, n, 0] += 0.5
        return values

    with pytest.raises(
        ValueError, match="of the structure should not change the energy"
    ):
        vibrations(water, with_field)


def test_a_rotation_that_costs_energy_is_an_error():
    molecule = Atoms("HCl", [(0, 0, 0), (1.3, 0, 0)])
    molecule.calc = morse(4.0, 1.9, 1.3)

    def hindered(atoms):
        values = molecule.calc.hessian(atoms)
        spring = np.array([[0.2, -0.2], [-0.2, 0.2]])
        values[:, 1, :, 1] += spring
        return values

    with pytest.raises(
        ValueError, match="a rotation of the structure should not change"
    ):
        vibrations(molecule, hindered)


def test_modes_below_the_resolution_are_named_and_refused():
    """Two molecules held together by a spring that is all but nothing."""
    atoms = Atoms("OHOH", [(0, 0, 0), (0.97, 0, 0), (0, 3, 0), (0.97, 3, 0)])
    bonds = {(0, 1): (50.0, 0.97), (2, 3): (50.0, 0.97), (0, 2): (1e-4, 3.0)}
    atoms.calc = valence(bonds, {})
    found = vibrations(atoms, atoms.calc.hessian)

    soft = np.flatnonzero(found.unresolved)
    assert len(soft)
    assert found.record()["unresolved_modes"] == (soft + 1).tolist()
    with pytest.raises(ValueError, match=r"mode 1 \(.*--quasi-rrho"):
        ideal_gas(found)


def test_modes_of_isotopes_are_those_of_their_masses():
    atoms = Atoms("HCl", [(0, 0, 0), (1.3, 0, 0)], masses=[2.014, 34.969])
    atoms.calc = morse(4.0, 1.9, 1.3)

    found = vibrations(atoms, atoms.calc.hessian)

    expected = PER_ROOT * np.sqrt(2 * 4.0 * 1.9**2 * (1 / 2.014 + 1 / 34.969))
    assert found.frequencies == pytest.approx([expected])
    assert found.record()["masses_amu"] == [2.014, 34.969]
    assert found.isotopes == {"H of 2.014 amu": [0], "Cl of 34.969 amu": [1]}


def test_isotopes_break_the_symmetry(water):
    half = water.copy()
    half.set_masses([15.999, 2.014, 1.008])
    half.calc = water.calc

    assert ideal_gas(vibrations(water, water.calc.hessian)).symmetry_number == 2
    assert ideal_gas(vibrations(half, water.calc.hessian)).symmetry_number == 1


@pytest.mark.parametrize("mass", [0.0, -1.0, np.nan])
def test_masses_must_be_positive(water, mass):
    water.set_masses([mass, 1.0, 1.0])

    with pytest.raises(ValueError, match="expected positive masses in amu"):
        vibrations(water, water.calc.hessian)
