"""Relaxation with a first Hessian: same minimum, no more steps than without."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms

from equipot.workflows import relax
from tests.workflows.analytic_potentials import (
    lennard_jones,
    stillinger_weber_silicon,
    valence,
)

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
