"""Relaxation with a first Hessian: same minimum, no more steps than without."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, diamond100
from ase.calculators.calculator import Calculator
from ase.constraints import FixAtoms

from equipot.workflows import relax
from tests.workflows.analytic_potentials import (
    lennard_jones,
    mueller_brown,
    stillinger_weber_silicon,
    valence,
)


class NoStress(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.ones((len(atoms), 3))}


HYDROGEN_PEROXIDE = {
    "bonds": {(0, 1): (28.0, 1.45), (0, 2): (48.0, 0.97), (1, 3): (48.0, 0.97)},
    "angles": {(1, 0, 2): (5.0, -0.17), (0, 1, 3): (5.0, -0.17)},
}


@pytest.fixture
def peroxide():
    """Stiff bonds beside soft angles, displaced from its minimum."""
    calculator = valence(**HYDROGEN_PEROXIDE)
    positions = [(0, 0, 0), (1.45, 0, 0), (-0.2, 0.95, 0), (1.65, -0.5, 0.8)]
    atoms = Atoms("OOHH", positions)
    atoms.rattle(0.08, seed=1)
    atoms.calc = calculator
    return atoms


def test_a_stiff_and_soft_molecule_needs_fewer_steps_with_its_hessian(
    peroxide, record_property
):
    seeded = relax(peroxide, peroxide.calc.hessian)
    plain = relax(peroxide)

    record_property("measured", f"BFGS: {seeded.steps} steps, unseeded {plain.steps}")
    assert seeded.converged
    assert plain.converged
    assert seeded.max_force < 1e-3
    assert seeded.energy == pytest.approx(0, abs=1e-6)
    assert seeded.energy < seeded.start_energy
    assert seeded.steps <= plain.steps // 2


def test_the_start_is_left_as_it_is_and_fixed_atoms_stay(peroxide):
    before = peroxide.positions.copy()
    peroxide.set_constraint(FixAtoms([0]))

    result = relax(peroxide, peroxide.calc.hessian)

    np.testing.assert_array_equal(peroxide.positions, before)
    np.testing.assert_array_equal(result.atoms.positions[0], before[0])
    assert result.converged


def test_free_atoms_do_not_count_on_fixed_ones():
    calculator = valence({(0, 1): (90.0, 1.3)}, {})
    pair = Atoms("HCl", [(0, 0, 0), (1.4, 0, 0)], constraint=FixAtoms([1]))
    pair.calc = calculator

    result = relax(pair, calculator.hessian, fmax=1e-8)

    assert result.steps == 1  # of Newton's method, on a spring
    assert result.atoms.get_distance(0, 1) == pytest.approx(1.3)


def test_negative_curvatures_lead_downhill():
    calculator = lennard_jones(1.0, 1.0)
    far = Atoms("Ar2", [(0, 0, 0), (1.6, 0, 0)])
    far.calc = calculator
    assert np.linalg.eigvalsh(calculator.hessian(far).reshape(6, 6)).min() < -0.1

    result = relax(far, calculator.hessian)

    assert result.atoms.get_distance(0, 1) == pytest.approx(2 ** (1 / 6), abs=1e-4)
    assert result.energy == pytest.approx(-1, abs=1e-6)


def test_cell_and_positions_relax_together():
    silicon = bulk("Si", "diamond", a=5.6)
    silicon.set_cell(silicon.cell.array @ np.diag([1.02, 0.99, 1.0]), scale_atoms=True)
    silicon.rattle(0.05, seed=2)
    silicon.calc = stillinger_weber_silicon()

    seeded = relax(silicon, silicon.calc.hessian, cell=True, fmax=1e-4)
    plain = relax(silicon, cell=True, fmax=1e-4)

    assert seeded.converged
    volume = seeded.atoms.get_volume()
    assert (4 * volume) ** (1 / 3) == pytest.approx(5.431, abs=2e-3)
    assert seeded.energy / 2 == pytest.approx(-2 * 2.1682, abs=1e-5)
    assert seeded.steps <= 7 < plain.steps  # 9 without the coupling to the cell


def test_the_cell_of_a_molecule_cannot_relax(peroxide):
    with pytest.raises(ValueError, match="along periodic directions only"):
        relax(peroxide, cell=True)


@pytest.fixture(scope="module")
def silicon():
    """Stretched by 1.3 %, both atoms displaced."""
    atoms = bulk("Si", "diamond", a=5.5)
    atoms.rattle(0.03, seed=1)
    atoms.calc = stillinger_weber_silicon()
    return atoms


def with_cell(atoms, cell, pbc=True):
    other = atoms.copy()
    other.set_cell(cell)
    other.pbc = pbc
    other.calc = atoms.calc
    return other


def energy_by_strain(atoms, calculator, step=1e-4):
    """Derivatives of the energy in eV by all nine elements of a deformation."""
    slopes = np.zeros((3, 3))
    for row, column in np.ndindex(3, 3):
        energies = []
        for sign in (1, -1):
            deformation = np.eye(3)
            deformation[row, column] += sign * step
            strained = atoms.copy()
            strained.set_cell(atoms.cell.array @ deformation)
            strained.positions = atoms.positions @ deformation
            energies.append(calculator.get_potential_energy(strained))
        slopes[row, column] = (energies[0] - energies[1]) / (2 * step)
    return slopes


def counted(hessian):
    calls = []

    def function(atoms):
        calls.append(len(atoms))
        return hessian(atoms)

    return function, calls


def test_a_structure_at_rest_takes_no_step_and_no_hessian(peroxide):
    rest = relax(peroxide, peroxide.calc.hessian, fmax=1e-4).atoms
    rest.calc = peroxide.calc
    hessian, calls = counted(peroxide.calc.hessian)

    again = relax(rest, hessian, fmax=1e-3)

    assert (again.steps, again.converged, calls) == (0, True, [])
    np.testing.assert_array_equal(again.atoms.positions, rest.positions)


def test_beyond_a_number_of_atoms_there_is_no_hessian(peroxide, silicon):
    hessian, calls = counted(peroxide.calc.hessian)
    large = relax(peroxide, hessian, hessian_up_to=3, fmax=1e-4)
    crystal = relax(silicon, silicon.calc.hessian, cell=True, hessian_up_to=1)

    assert calls == []
    assert large.method == crystal.method == "L-BFGS"
    assert large.converged
    assert large.energy == pytest.approx(0, abs=1e-6)
    assert crystal.energy / 2 == pytest.approx(-2 * 2.1682, abs=1e-5)


def test_under_a_pressure_the_enthalpy_is_least(silicon):
    squeezed = relax(silicon, silicon.calc.hessian, cell=True, pressure=10.0, fmax=1e-5)
    free = relax(silicon, silicon.calc.hessian, cell=True, fmax=1e-5)

    atoms = squeezed.atoms
    stress = silicon.calc.get_stress(atoms) / units.GPa
    np.testing.assert_allclose(stress, [-10, -10, -10, 0, 0, 0], atol=1e-3)
    work = 10 * units.GPa * atoms.get_volume()
    assert squeezed.enthalpy == pytest.approx(squeezed.energy + work, abs=1e-12)
    assert atoms.get_volume() < free.atoms.get_volume()
    assert squeezed.enthalpy < free.energy + 10 * units.GPa * free.atoms.get_volume()


@pytest.mark.parametrize(
    ("options", "pbc", "message"),
    [
        ({"pressure": 1.0}, True, "pressure of 1 GPa needs a relaxation of the cell"),
        (
            {"cell": True, "pressure": 1.0},
            [True, True, False],
            "pressure needs a volume",
        ),
        ({"cell": True, "pressure": np.nan}, True, "finite pressure"),
        ({"strains": ["xx"]}, True, "strains xx need a relaxation of the cell"),
        ({"cell": True, "strains": ["xx", "ab"]}, True, "unknown strain ab"),
        ({"cell": True, "strains": ["shape", "xx"]}, True, "unknown strain shape"),
        (
            {"cell": True, "strains": ["xx", "zz"]},
            [True, True, False],
            "not all within",
        ),
        ({"cell": True}, False, "along periodic directions only"),
        ({"keep_symmetry": True}, [True, True, False], "three periodic directions"),
        (
            {"cell": True, "keep_symmetry": True, "strains": ["xx"]},
            True,
            "break the fixed symmetry",
        ),
    ],
)
def test_requests_that_contradict_the_structure(options, pbc, message):
    cube = bulk("Si", "diamond", a=5.5, cubic=True)
    cube.pbc = pbc
    cube.calc = stillinger_weber_silicon()

    with pytest.raises(ValueError, match=message):
        relax(cube, **options)


def test_a_calculator_without_stress_cannot_relax_a_cell(peroxide):
    box = with_cell(peroxide, [9, 9, 9])
    box.calc = NoStress()

    with pytest.raises(ValueError, match="relaxation of the cell needs a stress"):
        relax(box, cell=True)


def test_only_the_strains_that_are_asked_for_change(silicon):
    start = silicon.cell.array

    one = relax(silicon, silicon.calc.hessian, cell=True, strains=["xx"], fmax=1e-4)
    shear = relax(silicon, silicon.calc.hessian, cell=True, strains=["xy"], fmax=1e-4)

    np.testing.assert_array_equal(one.atoms.cell.array[:, 1:], start[:, 1:])
    assert np.abs(one.atoms.cell.array[:, 0] - start[:, 0]).max() > 1e-2
    slopes = energy_by_strain(one.atoms, silicon.calc)
    assert abs(slopes[0, 0]) < 1e-3
    assert slopes[1, 1] > 0.1
    np.testing.assert_array_equal(shear.atoms.cell.array[:, 2], start[:, 2])
    deformation = np.linalg.solve(start, shear.atoms.cell.array)
    np.testing.assert_allclose(np.diag(deformation), 1, atol=1e-12)


def test_a_cell_changes_only_its_size_or_only_its_shape(silicon):
    strained = with_cell(silicon, silicon.cell.array @ np.diag([1.03, 0.98, 1.0]))

    size = relax(
        strained, strained.calc.hessian, cell=True, strains=["hydrostatic"], fmax=1e-4
    )
    shape = relax(
        strained, strained.calc.hessian, cell=True, strains=["shape"], fmax=1e-4
    )

    ratio = size.atoms.cell.lengths() / strained.cell.lengths()
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-12)
    np.testing.assert_allclose(size.atoms.cell.angles(), strained.cell.angles())
    assert abs(np.trace(energy_by_strain(size.atoms, silicon.calc))) < 1e-3
    assert shape.atoms.get_volume() == pytest.approx(strained.get_volume(), rel=1e-12)
    np.testing.assert_allclose(shape.atoms.cell.angles(), 60, atol=0.01)


@pytest.fixture(scope="module")
def slab():
    """Five layers of silicon, stretched in their plane by 1.3 %."""
    atoms = diamond100("Si", (1, 1, 5), a=5.5, vacuum=5)
    atoms.rattle(0.02, seed=1)
    atoms.pbc = (True, True, False)
    atoms.calc = stillinger_weber_silicon()
    return atoms


@pytest.fixture(scope="module")
def relaxed_slab(slab):
    return relax(slab, slab.calc.hessian, cell=True, fmax=1e-5)


def test_a_slab_relaxes_in_its_plane(slab, relaxed_slab):
    slopes = energy_by_strain(relaxed_slab.atoms, slab.calc)

    assert relaxed_slab.converged
    np.testing.assert_array_equal(relaxed_slab.atoms.cell[2], slab.cell[2])
    np.testing.assert_array_equal(relaxed_slab.atoms.pbc, slab.pbc)
    np.testing.assert_allclose(slopes[:2, :2], 0, atol=1e-3)
    assert np.linalg.norm(relaxed_slab.atoms.cell[0] - slab.cell[0]) > 1e-2


@pytest.mark.parametrize("third", [(0, 0, 0), (1, 2, -15), (0, 0, 40), (1, 1, 0)])
def test_the_vector_of_a_free_direction_means_nothing_and_stays(
    slab, relaxed_slab, third
):
    other = with_cell(slab, [slab.cell[0], slab.cell[1], third], slab.pbc)

    result = relax(other, slab.calc.hessian, cell=True, fmax=1e-5)

    np.testing.assert_array_equal(result.atoms.cell[2], third)
    assert result.energy == pytest.approx(relaxed_slab.energy, abs=1e-7)
    np.testing.assert_allclose(
        result.atoms.cell[:2], relaxed_slab.atoms.cell[:2], atol=1e-4
    )


def test_a_turned_slab_relaxes_in_its_own_plane(slab, relaxed_slab):
    turned = slab.copy()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    turned.calc = slab.calc

    result = relax(turned, slab.calc.hessian, cell=True, fmax=1e-5)

    assert result.energy == pytest.approx(relaxed_slab.energy, abs=1e-7)
    np.testing.assert_allclose(
        result.atoms.cell.cellpar(), relaxed_slab.atoms.cell.cellpar(), atol=1e-4
    )
    normal = np.cross(turned.cell[0], turned.cell[1])
    np.testing.assert_allclose(result.atoms.cell[:2] @ normal, 0, atol=1e-9)


def test_a_chain_relaxes_along_itself():
    chain = bulk("Si", "diamond", a=5.5, cubic=True)
    chain.pbc = (False, False, True)
    chain.calc = stillinger_weber_silicon()

    result = relax(chain, chain.calc.hessian, cell=True, fmax=1e-4)

    np.testing.assert_array_equal(result.atoms.cell[:2], chain.cell[:2])
    assert abs(energy_by_strain(result.atoms, chain.calc)[2, 2]) < 1e-2
    assert result.atoms.cell[2, 2] != chain.cell[2, 2]


@pytest.mark.parametrize(
    "change",
    [-np.eye(3), [[0, 1, 0], [1, 0, 0], [0, 0, 1]], [[1, 0, 0], [3, 1, 0], [0, 2, 1]]],
    ids=["inverted", "swapped", "skewed"],
)
def test_other_vectors_of_the_same_lattice_give_the_same_crystal(silicon, change):
    other = with_cell(silicon, np.array(change) @ silicon.cell.array)

    given = relax(silicon, silicon.calc.hessian, cell=True, fmax=1e-4)
    twin = relax(other, silicon.calc.hessian, cell=True, fmax=1e-4)

    assert twin.steps == given.steps
    assert twin.energy == pytest.approx(given.energy, abs=1e-9)
    np.testing.assert_allclose(
        twin.atoms.cell.array, change @ given.atoms.cell.array, atol=1e-8
    )


def test_the_space_group_is_kept():
    quartz = bulk("Si", "diamond", a=5.5, cubic=True)
    quartz.rattle(1e-4, seed=4)
    quartz.calc = stillinger_weber_silicon()

    result = relax(quartz, quartz.calc.hessian, cell=True, keep_symmetry=True)

    (note,) = result.notes
    assert "227 (Fd-3m) is conserved (192 operations)" in note
    np.testing.assert_allclose(result.atoms.cell.angles(), 90, atol=1e-10)
    np.testing.assert_allclose(np.ptp(result.atoms.cell.lengths()), 0, atol=1e-10)
    assert result.atoms.constraints == []


def test_fixed_atoms_and_symmetry_must_agree(silicon):
    crystal = bulk("Si", "diamond", a=5.5)
    crystal.calc = silicon.calc
    crystal.set_constraint(FixAtoms([0]))

    with pytest.raises(ValueError, match="fixed symmetry are inconsistent"):
        relax(crystal, keep_symmetry=True)


def test_fixed_atoms_keep_their_place_in_a_cell_that_relaxes(silicon):
    held = silicon.copy()
    held.set_constraint(FixAtoms([1]))
    held.calc = silicon.calc

    result = relax(held, held.calc.hessian, cell=True, fmax=1e-4)

    assert result.converged
    np.testing.assert_allclose(
        result.atoms.get_scaled_positions()[1], held.get_scaled_positions()[1]
    )
    assert [c.get_indices().tolist() for c in result.atoms.constraints] == [[1]]


def test_all_but_labels_and_momenta_is_kept(peroxide):
    peroxide.info.update(name="a b", REF_energy=-1.0)
    peroxide.set_tags([1, 2, 3, 4])
    peroxide.set_initial_magnetic_moments([0.1, 0, 0, 0.2])
    peroxide.set_masses([16, 16, 2.014, 2.014])
    peroxide.new_array("site", np.array(list("abcd")))
    peroxide.new_array("REF_forces", np.ones((4, 3)))
    peroxide.set_momenta(np.ones((4, 3)))

    result = relax(peroxide, peroxide.calc.hessian)

    kept = result.atoms
    assert kept.info == {"name": "a b"}
    assert kept.get_tags().tolist() == [1, 2, 3, 4]
    assert kept.get_initial_magnetic_moments().tolist() == [0.1, 0, 0, 0.2]
    assert kept.get_masses().tolist() == [16, 16, 2.014, 2.014]
    assert kept.arrays["site"].tolist() == list("abcd")
    assert not kept.has("momenta")
    assert "REF_forces" not in kept.arrays
    assert result.notes == ("momenta are dropped",)
    assert peroxide.has("momenta")


def test_every_step_is_told_with_forces_of_the_potential(silicon):
    held = silicon.copy()
    held.set_constraint(FixAtoms([1]))
    held.calc = silicon.calc
    steps = []

    result = relax(held, held.calc.hessian, cell=True, observer=steps.append)

    assert [s.number for s in steps] == list(range(result.steps + 1))
    first, last = steps[0].atoms, steps[-1].atoms
    np.testing.assert_allclose(first.positions, held.positions, atol=1e-12)
    np.testing.assert_allclose(
        first.get_forces(apply_constraint=False),
        held.get_forces(apply_constraint=False),
        atol=1e-12,
    )
    assert np.abs(first.get_forces(apply_constraint=False)[1]).max() > 0.1
    np.testing.assert_allclose(first.get_stress(), held.get_stress(), atol=1e-12)
    assert last.get_potential_energy() == pytest.approx(result.energy)
    np.testing.assert_array_equal(last.positions, result.atoms.positions)


def test_a_potential_that_is_not_the_same_everywhere_is_noticed(silicon):
    nowhere = relax(silicon, silicon.calc.hessian, max_steps=0)
    place = Atoms("H2", [(-0.05, 0.3, 0), (9, 9, 9)])
    place.calc = mueller_brown()
    somewhere = relax(place, max_steps=0)

    assert nowhere.net_force < 1e-12
    assert somewhere.net_force > 0.1
