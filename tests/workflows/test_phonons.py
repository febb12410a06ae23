"""Phonons of Stillinger-Weber silicon: derivatives against phonopy's differences."""

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.constraints import FixAtoms

from equipot.report.phonon_page import doubts, phonon_page
from equipot.workflows.phonons import force_constants, phonons, supercell_around
from equipot.workflows.vibrations import THZ_PER_ROOT_CURVATURE
from tests.workflows.analytic_potentials import (
    Analytic,
    SiliconBonds,
    lennard_jones,
    stillinger_weber_silicon,
)

pytest.importorskip("phonopy", reason="needs equipot[phonons]")

LATTICE_CONSTANT = 5.431


@pytest.fixture(scope="module")
def silicon():
    atoms = bulk("Si", "diamond", a=LATTICE_CONSTANT, cubic=True)
    atoms.calc = stillinger_weber_silicon()
    return atoms


@pytest.fixture(scope="module")
def exact(silicon):
    return force_constants(
        silicon, (2, 2, 2), silicon.calc.products, method="derivatives"
    )


def frequencies(constants):
    """On a few points that no symmetry helps."""
    return at(constants, (0.1, 0.2, 0.3), (0.5, 0.0, 0.25), (0.4, 0.35, 0.1))


def at(constants, *points):
    constants.phonopy.run_qpoints(points)
    return constants.phonopy.qpoints.frequencies


def test_one_product_gives_all_rows_of_silicon(silicon, exact):
    lattice = exact.phonopy
    supercell = Atoms(
        lattice.supercell.symbols,
        lattice.supercell.positions,
        cell=lattice.supercell.cell,
        pbc=True,
    )
    rows = []
    for atom in lattice.primitive.p2s_map:
        directions = np.zeros((3, len(supercell), 3))
        directions[:, atom] = np.eye(3)
        rows.append(silicon.calc.products(supercell, directions).transpose(1, 0, 2))

    assert exact.evaluations == 1
    assert exact.compact.shape == (2, 64, 3, 3)
    np.testing.assert_allclose(exact.compact, np.stack(rows), atol=1e-12)
    assert exact.sum_rule < 1e-12


def test_differences_approach_the_derivatives_with_the_square_of_the_step(
    silicon, exact, record_property
):
    errors = []
    for distance in (0.02, 0.01, 0.005):
        differences = force_constants(silicon, (2, 2, 2), distance=distance)
        assert differences.method == "displacements"
        errors.append(np.abs(frequencies(differences) - frequencies(exact)).max())

    record_property("measured", f"phonopy at 0.01 Å: {errors[1]:.1e} THz")
    np.testing.assert_allclose(np.array(errors[:-1]) / errors[1:], 4, rtol=0.05)
    assert errors[-1] < 1e-3


def test_the_optical_mode_of_silicon(exact):
    (found,) = at(exact, (0, 0, 0))

    np.testing.assert_allclose(found[:3], 0, atol=1e-5)
    np.testing.assert_allclose(found[3:], 17.833, atol=2e-3)


def test_what_is_cheaper_is_chosen(silicon):
    # Silicon: one displacement suffices, cheaper than a product. Two atoms that only
    # an inversion maps need six displacements to both sides, or three products.
    assert force_constants(silicon, (1, 1, 1), silicon.calc.products).method == (
        "displacements"
    )
    crooked = bulk("Si", "diamond", a=LATTICE_CONSTANT)
    crooked.rattle(0.1, seed=1)
    crooked.calc = silicon.calc
    with pytest.warns(UserWarning, match="not relaxed"):
        chosen = force_constants(crooked, (2, 2, 2), silicon.calc.products)

    assert chosen.method == "derivatives"
    assert chosen.evaluations == 3


def test_bands_states_and_heat_capacity(exact):
    found = phonons(exact, mesh=30.0, band_points=11)

    assert found.stable
    assert found.unstable_share == 0
    assert found.bands.labels[0] == ("G", "X")
    assert found.bands.frequencies[0].shape == (11, 6)
    assert found.bands.frequencies[0].max() == pytest.approx(17.833, abs=2e-3)
    states = np.trapezoid(found.dos, found.dos_frequencies)
    assert states == pytest.approx(6, rel=0.01)
    # Dulong and Petit; and the free energy at 0 K is the zero-point energy.
    assert found.heat_capacity[-1] == pytest.approx(6 * units.kB, rel=0.06)
    mean = (found.dos * found.dos_frequencies).sum() / found.dos.sum()
    zero_point = 3 * mean * 1e12 * units._hplanck / units._e
    assert found.free_energy[0] == pytest.approx(zero_point, rel=0.01)
    assert (np.diff(found.entropy) > 0).all()
    assert found.record()["stable"] is True


def test_a_crystal_that_is_stretched_too_far_is_unstable(silicon):
    stretched = bulk("Si", "diamond", a=7.2)
    stretched.calc = silicon.calc
    found = phonons(
        force_constants(stretched, (2, 2, 2), silicon.calc.products), mesh=20.0
    )

    assert not found.stable
    assert found.lowest < -0.5
    assert found.unstable_share > 0


def test_supercells_hold_the_range_or_say_so(silicon):
    assert supercell_around(silicon, 5.0) == (2, 2, 2)
    assert supercell_around(silicon, 2 * LATTICE_CONSTANT) == (4, 4, 4)
    primitive = bulk("Si", "diamond", a=LATTICE_CONSTANT)
    height = LATTICE_CONSTANT / np.sqrt(3)
    assert supercell_around(primitive, height * 1.49) == (3, 3, 3)

    with pytest.warns(
        UserWarning,
        match=r"is 7\.5 Å, but the inradius of the supercell is only 2\.7 Å",
    ):
        force_constants(silicon, (1, 1, 1), interaction_range=7.5)


def test_a_molecule_has_no_phonons():
    dimer = Atoms("Ar2", [(0, 0, 0), (1.1, 0, 0)])
    dimer.calc = lennard_jones(1.0, 1.0)

    with pytest.raises(ValueError, match="for a molecule use vibrations"):
        force_constants(dimer, (1, 1, 1))


def twin(silicon, change):
    other = silicon.copy()
    other.set_cell(np.array(change) @ silicon.cell.array)
    other.calc = silicon.calc
    return other


@pytest.mark.parametrize(
    "change",
    [-np.eye(3), [[0, 1, 0], [1, 0, 0], [0, 0, 1]], [[1, 0, 0], [1, 1, 0], [0, 0, 1]]],
    ids=["inverted", "swapped", "skewed"],
)
@pytest.mark.parametrize("method", ["derivatives", "displacements"])
def test_other_vectors_of_the_same_lattice_have_the_same_phonons(change, method):
    primitive = bulk("Si", "diamond", a=LATTICE_CONSTANT)
    primitive.calc = stillinger_weber_silicon()
    other = twin(primitive, change)

    found, given = (
        phonons(
            force_constants(atoms, (3, 3, 3), atoms.calc.products, method=method),
            mesh=25.0,
            band_points=5,
        )
        for atoms in (other, primitive)
    )

    # The supercell of skewed vectors is another one, of the same range.
    tolerance = 1e-2 if np.abs(change).sum() > 3 else 1e-6
    np.testing.assert_allclose(found.free_energy, given.free_energy, rtol=tolerance)
    assert found.stable
    assert found.bands.labels == given.bands.labels


def test_a_supercell_has_the_phonons_of_its_primitive_cell(silicon, exact):
    primitive = bulk("Si", "diamond", a=LATTICE_CONSTANT)
    primitive.calc = silicon.calc
    other = phonons(
        force_constants(primitive, (4, 4, 4), silicon.calc.products), mesh=30.0
    )
    found = phonons(exact, mesh=30.0)

    assert found.primitive.atoms == other.primitive.atoms == 2
    assert found.primitive.text == "Si2: 2 atoms, 2 formula units of Si"
    assert found.volume == pytest.approx(LATTICE_CONSTANT**3 / 4)
    np.testing.assert_allclose(found.free_energy, other.free_energy, rtol=2e-3)


def test_thermal_properties_name_the_primitive_cell(exact):
    record = phonons(exact, mesh=20.0).record()

    assert record["primitive_cell"]["formula"] == "Si2"
    assert record["primitive_cell"]["atoms"] == 2
    per = [key for key in record if key.endswith("_per_primitive_cell")]
    assert len(per) == 4
    assert not {"free_energy_ev", "entropy_ev_per_k"} & set(record)


def test_isotopes_are_told_apart(silicon):
    mixed = silicon.copy()
    masses = mixed.get_masses()
    masses[[0, 3]] = 60.0
    mixed.set_masses(masses)
    mixed.calc = silicon.calc

    constants = force_constants(mixed, (1, 1, 1), silicon.calc.products)

    (found,) = at(constants, (0, 0, 0))
    root = np.repeat(np.sqrt(masses), 3)
    matrix = silicon.calc.hessian(mixed).reshape(24, 24) / root[:, None] / root
    values = np.linalg.eigvalsh(matrix)
    expected = THZ_PER_ROOT_CURVATURE * np.sign(values) * np.sqrt(np.abs(values))
    np.testing.assert_allclose(found[3:], expected[3:], rtol=1e-4)
    assert phonons(constants, mesh=20.0).primitive.atoms == 8


def test_fixed_atoms_are_refused(silicon):
    held = silicon.copy()
    held.set_constraint(FixAtoms([0]))
    held.calc = silicon.calc

    with pytest.raises(ValueError, match="has fixed atoms"):
        force_constants(held, (1, 1, 1))


def test_an_energy_that_depends_on_the_place_is_noticed():
    crystal = bulk("Si", "diamond", a=LATTICE_CONSTANT)

    def pinned(atoms):
        energy = SiliconBonds()(atoms)
        start = torch.tensor(atoms.positions)
        return lambda r, strain: energy(r, strain) + ((r - start.detach()) ** 2).sum()

    crystal.calc = Analytic(pinned)
    found = phonons(
        force_constants(
            crystal, (2, 2, 2), crystal.calc.products, method="derivatives"
        ),
        mesh=20.0,
    )

    assert not found.invariant
    assert np.abs(found.translations).min() > 1
    (doubt,) = doubts(found)
    assert "an acoustic mode at Γ has a frequency" in doubt
    assert "An acoustic mode at Γ has a frequency" in phonon_page(found, "Si")


def test_imaginary_modes_do_not_leave_heat_in_silence(silicon, exact):
    stretched = bulk("Si", "diamond", a=7.2)
    stretched.calc = silicon.calc
    found = phonons(
        force_constants(stretched, (2, 2, 2), silicon.calc.products), mesh=20.0
    )

    assert any("exclude the imaginary modes" in text for text in doubts(found))
    assert doubts(phonons(exact, mesh=20.0)) == ()
