"""Saddle points of surfaces where they are known, and the paths down from them."""

import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms

from equipot.workflows import find_saddle, guess_saddle, reaction_path, relax
from tests.workflows.analytic_potentials import lennard_jones, mueller_brown

MINIMA = [(-0.5582, 1.4417), (-0.0500, 0.4667), (0.6235, 0.0280)]
SADDLES = [(-0.8220, 0.6243, -40.6648), (0.2125, 0.2930, -72.2489)]
"""Of the surface of K. Müller and L. D. Brown, with its energies."""


def on_surface(x, y, z=0.0):
    """One atom that feels the surface, and one far away so that it has a frame."""
    atoms = Atoms("HH", [(x, y, z), (9, 9, 9)], constraint=FixAtoms([1]))
    atoms.calc = mueller_brown()
    return atoms


@pytest.mark.parametrize(
    ("start", "saddle", "ends"),
    [((-0.7, 0.75), 0, (0, 1)), ((0.25, 0.35), 1, (1, 2))],
)
def test_saddles_of_mueller_and_brown_and_what_they_connect(start, saddle, ends):
    atoms = on_surface(*start, 0.1)
    x, y, energy = SADDLES[saddle]

    found = find_saddle(atoms, atoms.calc.hessian, fmax=1e-5)

    assert found.is_transition_state
    np.testing.assert_allclose(found.atoms.positions[0], (x, y, 0), atol=2e-4)
    assert found.energy == pytest.approx(energy / 100, abs=1e-5)
    top = found.atoms.copy()
    top.calc = atoms.calc
    path = reaction_path(top, atoms.calc.hessian, step=0.03, fmax=0.01)
    assert (np.diff(path.energies[path.saddle :]) < 0).all()
    assert (np.diff(path.energies[: path.saddle + 1]) > 0).all()
    assert (np.diff(path.lengths) > 0).all()
    arrived = []
    for frame in (path.frames[0], path.frames[-1]):
        valley = frame.copy()
        valley.calc = atoms.calc
        arrived.append(relax(valley, atoms.calc.hessian).atoms.positions[0, :2])
    expected = [MINIMA[n] for n in ends]
    arrived.sort(key=lambda p: p[0])
    np.testing.assert_allclose(arrived, expected, atol=2e-3)


def test_the_path_is_steepest_descent():
    atoms = on_surface(*SADDLES[0][:2])
    top = find_saddle(atoms, atoms.calc.hessian, fmax=1e-6).atoms
    top.calc = atoms.calc
    coarse, fine = (
        reaction_path(top, atoms.calc.hessian, step=step, max_steps=round(0.6 / step))
        for step in (0.05, 0.0125)
    )
    # Every coarse point lies on the curve through the fine points.
    curve = np.array([f.positions[0] for f in fine.frames])
    for frame in coarse.frames[1:-1]:
        place = frame.positions[0]
        along = np.linalg.norm(curve - place, axis=1).argsort()[:2]
        a, b = curve[along]
        across = np.linalg.norm(np.cross(place - a, b - a)) / np.linalg.norm(b - a)
        assert across < 4e-3


@pytest.fixture(scope="module")
def rhombus():
    """Planar saddle of four Lennard-Jones atoms between two tetrahedra."""
    calculator = lennard_jones(1.0, 1.0)
    r, h = 1.12, 1.12 * np.sqrt(3) / 2
    atoms = Atoms("Ar4", [(0, -r / 2, 0), (0, r / 2, 0), (h, 0, 0), (-h, 0, 0)])
    atoms.calc = calculator
    return atoms


def test_four_lennard_jones_atoms_invert_through_a_rhombus(rhombus):
    guess = rhombus.copy()
    guess.rattle(0.08, seed=4)
    guess.calc = rhombus.calc
    energies = []

    found = find_saddle(
        guess, rhombus.calc.hessian, observe=lambda *point: energies.append(point[1])
    )

    assert found.is_transition_state
    assert found.num_negative == 1
    assert found.energy == pytest.approx(-5.073420, abs=1e-5)
    assert len(energies) == found.steps + 1
    top = found.atoms.copy()
    top.calc = rhombus.calc
    path = reaction_path(top, rhombus.calc.hessian, step=0.2)
    for frame in (path.frames[0], path.frames[-1]):
        valley = frame.copy()
        valley.calc = rhombus.calc
        assert relax(valley, rhombus.calc.hessian).energy == pytest.approx(-6, abs=1e-5)


@pytest.mark.parametrize("saddle", [0, 1])
def test_a_band_between_two_minima_leads_to_the_saddle_between_them(saddle):
    ends = []
    for minimum in MINIMA[saddle : saddle + 2]:
        end = on_surface(*minimum)
        relaxed = relax(end, end.calc.hessian).atoms
        relaxed.calc = end.calc
        ends.append(relaxed)
    x, y, energy = SADDLES[saddle]

    guess = guess_saddle(*ends, images=7)

    assert len(guess.band) == len(guess.energies) == 7
    start = guess.atoms.copy()
    start.calc = ends[0].calc
    found = find_saddle(start, start.calc.hessian, direction=guess.direction)
    assert found.is_transition_state
    np.testing.assert_allclose(found.atoms.positions[0], (x, y, 0), atol=1e-3)
    assert found.energy == pytest.approx(energy / 100, abs=1e-5)


def test_a_symmetric_start_on_a_saddle_of_higher_order_leaves_it():
    calculator = lennard_jones(1.0, 1.0)
    square = Atoms("Ar4", [(1, 0, 0), (0, 1, 0), (-1, 0, 0), (0, -1, 0)])
    square.positions *= 0.785
    square.calc = calculator
    assert find_saddle(square, calculator.hessian, max_steps=0).num_negative == 2

    puckering = np.array([(0, 0, 1), (0, 0, -1)] * 2, dtype=float)
    found = find_saddle(square, calculator.hessian, direction=puckering)

    assert found.is_transition_state
    assert found.energy == pytest.approx(-5.073420, abs=1e-5)


def test_a_minimum_is_not_called_a_transition_state():
    atoms = on_surface(*MINIMA[0])
    minimum = relax(atoms, atoms.calc.hessian, fmax=1e-6).atoms
    minimum.calc = atoms.calc

    found = find_saddle(minimum, atoms.calc.hessian)

    assert found.converged
    assert found.num_negative == 0
    assert not found.is_transition_state
    with pytest.raises(ValueError, match="without negative curvature"):
        reaction_path(minimum, atoms.calc.hessian)


def test_ends_of_a_band_must_differ_and_match(rhombus):
    with pytest.raises(ValueError, match="same structure twice"):
        guess_saddle(rhombus, rhombus.copy())
    other = Atoms("ArArArNe", rhombus.positions)
    with pytest.raises(ValueError, match="same atoms in the same order"):
        guess_saddle(rhombus, other)
