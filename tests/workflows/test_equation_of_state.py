"""Equations of state: fitted to their own curves, and against elastic constants."""

import numpy as np
import pytest
from ase import Atoms, eos, units
from ase.build import bulk
from ase.constraints import FixAtoms

from equipot.report.eos_page import eos_page, summary
from equipot.workflows.equation_of_state import (
    equation_of_state,
    fit_equation_of_state,
)
from tests.workflows.analytic_potentials import stillinger_weber_silicon

LATTICE = 5.430951
BULK = (151.4243 + 2 * 76.4219) / 3
"""GPa, of Stillinger and Weber's potential, from its elastic constants."""


def frames_of(volumes):
    return tuple(Atoms("Si2", cell=[v ** (1 / 3)] * 3, pbc=True) for v in volumes)


@pytest.fixture(scope="module")
def silicon():
    atoms = bulk("Si", a=LATTICE)
    atoms.calc = stillinger_weber_silicon()
    return atoms


@pytest.fixture(scope="module")
def found(silicon):
    return equation_of_state(silicon, silicon.calc.hessian, span=0.03)


@pytest.mark.parametrize(
    ("kind", "curve"),
    [
        ("birchmurnaghan", eos.birchmurnaghan),
        ("murnaghan", eos.murnaghan),
        ("vinet", eos.vinet),
        ("pouriertarantola", eos.pouriertarantola),
    ],
)
def test_a_fit_finds_the_parameters_of_its_own_curve(kind, curve):
    volumes = np.linspace(36, 44, 9)
    energies = curve(volumes, -8.0, 0.6, 4.5, 40.3)

    fit = fit_equation_of_state(frames_of(volumes), energies, np.array([]), kind=kind)

    assert fit.volume == pytest.approx(40.3, abs=1e-5)
    assert fit.energy == pytest.approx(-8.0, abs=1e-8)
    assert fit.bulk_modulus == pytest.approx(0.6 / units.GPa, rel=1e-5)
    assert fit.bulk_derivative == pytest.approx(4.5, rel=1e-3)
    assert fit.residual < 1e-8
    assert fit.doubts == ()


def test_bulk_modulus_and_volume_of_silicon(found, record_property):
    record_property("measured", f"B0 of silicon {found.bulk_modulus:.2f} GPa")
    assert found.bulk_modulus == pytest.approx(BULK, rel=5e-3)
    assert found.volume == pytest.approx(LATTICE**3 / 4, rel=1e-4)
    assert found.energy / 2 == pytest.approx(-2 * 2.1682, abs=1e-4)
    assert found.doubts == ()


@pytest.mark.parametrize("kind", ["sj", "taylor", "birch", "anton-schmidt", "p3"])
def test_kinds_agree_on_silicon(found, kind):
    other = fit_equation_of_state(
        found.frames, found.energies, found.pressures, kind=kind
    )

    assert other.volume == pytest.approx(found.volume, rel=1e-3)
    assert other.bulk_modulus == pytest.approx(found.bulk_modulus, rel=0.03)


@pytest.mark.parametrize("case", ["left-handed", "skewed", "supercell"])
def test_other_cells_give_the_same_per_atom(silicon, found, case):
    other = silicon.copy()
    if case == "left-handed":
        other.set_cell(silicon.cell.array[[1, 0, 2]])
    elif case == "skewed":
        other.set_cell([[1, 0, 0], [3, 1, 0], [0, 2, 1]] @ silicon.cell.array)
    else:
        other = bulk("Si", a=LATTICE, cubic=True)
    other.calc = silicon.calc

    same = equation_of_state(other, points=11, span=0.03, relaxed="nothing")

    share = len(other) / 2
    assert same.volume / share == pytest.approx(found.volume, rel=1e-8)
    assert same.energy / share == pytest.approx(found.energy, abs=1e-9)
    assert same.bulk_modulus == pytest.approx(found.bulk_modulus, rel=1e-6)


def test_every_number_names_per_what(found):
    record = found.record()

    assert record["cell"]["formula"] == "Si2"
    assert record["energy_ev_per_atom"] == pytest.approx(found.energy / 2)
    assert record["energy_ev_per_formula_unit"] == pytest.approx(found.energy / 2)
    assert "per cell (Si2: 2 atoms, 2 formula units of Si)" in summary(found)
    page = eos_page(found, "Si")
    assert page.count("<svg") == 2
    assert "Per cell of Si2: 2 atoms" in page


def test_relaxing_the_shape_softens_what_is_not_cubic(silicon):
    strained = silicon.copy()
    strained.set_cell(silicon.cell.array @ np.diag([1.04, 0.97, 1.0]), scale_atoms=True)
    strained.calc = silicon.calc

    stiff = equation_of_state(strained, silicon.calc.hessian, points=5, relaxed="atoms")
    soft = equation_of_state(strained, silicon.calc.hessian, points=5, relaxed="shape")

    assert soft.energy < stiff.energy - 0.01
    np.testing.assert_allclose(
        [f.get_volume() for f in soft.frames], [f.get_volume() for f in stiff.frames]
    )
    np.testing.assert_allclose(soft.frames[0].cell.angles(), 60, atol=0.01)


@pytest.mark.parametrize(("lattice", "end"), [(5.9, "smallest"), (5.1, "largest")])
def test_a_minimum_outside_of_the_scan_is_refused(lattice, end):
    far = bulk("Si", a=lattice)
    far.calc = stillinger_weber_silicon()

    with pytest.raises(ValueError, match=f"lowest at the {end} volume of the scan"):
        equation_of_state(far, span=0.05, relaxed="nothing")


def test_a_fit_that_leaves_the_scan_or_has_no_minimum_is_refused():
    volumes = np.linspace(36, 44, 7)
    frames = frames_of(volumes)
    maximum = -((volumes - 40) ** 2) / 100
    # lowest inside by noise, while the curve falls towards larger volumes
    falling = -0.1 * (volumes - 36) + np.array([0, 0, 0, 0, 0, -0.3, 0])

    for energies in (maximum, falling):
        with pytest.raises(ValueError, match=r"minimum|cannot be fitted"):
            fit_equation_of_state(frames, energies, np.array([]))


def test_a_kink_and_a_wrong_stress_are_noticed(found):
    bend = found.energies.copy()
    bend[7:] += 0.01
    kinked = fit_equation_of_state(found.frames, bend, found.pressures)
    halved = fit_equation_of_state(found.frames, found.energies, found.pressures / 2)

    assert any("phase transition" in doubt for doubt in kinked.doubts)
    assert any("not the derivative" in doubt for doubt in halved.doubts)


def test_bad_requests_are_refused(silicon):
    held = silicon.copy()
    held.set_constraint(FixAtoms([0]))
    held.calc = silicon.calc
    dimer = Atoms("Si2", [(0, 0, 0), (2.3, 0, 0)])

    for atoms, options, message in [
        (silicon, {"points": 4}, "at least 5 volumes"),
        (silicon, {"span": 0.6}, "between 0 and 0.5"),
        (silicon, {"span": 0.0}, "between 0 and 0.5"),
        (held, {}, "has fixed atoms"),
        (dimer, {}, "three periodic directions"),
    ]:
        with pytest.raises(ValueError, match=message):
            equation_of_state(atoms, **options)
