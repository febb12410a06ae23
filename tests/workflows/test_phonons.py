"""Phonons of Stillinger-Weber silicon: derivatives against phonopy's differences."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from equipot.workflows.phonons import force_constants, phonons, supercell_around
from tests.workflows.analytic_potentials import lennard_jones, stillinger_weber_silicon

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
    with pytest.warns(UserWarning, match="not at rest"):
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

    with pytest.warns(UserWarning, match=r"up to 7\.5 Å, but only 2\.7 Å fit"):
        force_constants(silicon, (1, 1, 1), interaction_range=7.5)


def test_a_molecule_has_no_phonons():
    dimer = Atoms("Ar2", [(0, 0, 0), (1.1, 0, 0)])
    dimer.calc = lennard_jones(1.0, 1.0)

    with pytest.raises(ValueError, match="for a molecule use vibrations"):
        force_constants(dimer, (1, 1, 1))
