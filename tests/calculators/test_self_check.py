"""Neighbors that are wrong are found out before anything is calculated with them."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from equipot.calculators import EquipotCalculator, NeighborMismatchError
from equipot.calculators.self_check import SelfCheck, is_unusual
from equipot.neighbors import CanonicalList
from tests.neighbors.nasty_structures import NASTY
from tests.potentials import random_potential

CUTOFF = 3.0


@pytest.mark.parametrize("name", NASTY)
def test_right_neighbors_pass(name):
    positions, cell, pbc, cutoff = NASTY[name]
    atoms = Atoms("H" * len(positions), positions, cell=cell, pbc=pbc)
    edges = CanonicalList(cutoff, skin=0.2)(atoms)

    SelfCheck(cutoff, 1).compare(atoms, edges)


def _without(edges, *dropped):
    kept = np.setdiff1d(np.arange(edges.index.shape[1]), dropped)
    return replace(
        edges,
        index=edges.index[:, kept],
        shift=edges.shift[kept],
    )


def _without_pair(edges):
    """Without one edge and its reverse."""
    back = (edges.index == edges.index[::-1, 3:4]).all(axis=0)
    back &= (edges.shift == -edges.shift[3]).all(axis=1)
    return _without(edges, 3, *np.flatnonzero(back))


def test_a_missing_pair_is_named(silica):
    edges = CanonicalList(CUTOFF, skin=0.0)(silica)
    j, i = edges.index[:, 7].tolist()

    with pytest.raises(
        NeighborMismatchError,
        match=rf"lacks 1, such as atom {j} in cell .* near {i}\. Please report",
    ):
        SelfCheck(CUTOFF, 1).compare(silica, _without(edges, 7))


def test_a_pair_too_many_is_named(silica):
    edges = CanonicalList(CUTOFF, skin=0.0)(silica)
    shift = edges.shift.copy()
    shift[0] += 5
    wrong = replace(edges, shift=shift)

    with pytest.raises(NeighborMismatchError, match=r"lacks 1, .*has besides 1, such"):
        SelfCheck(CUTOFF, 1).compare(silica, wrong)


@pytest.mark.parametrize("difference", [-1e-10, 0.0, 1e-10])
def test_a_pair_at_the_cutoff_may_be_rounded_either_way(difference):
    atoms = Atoms("HH", [[0, 0, 0], [0, 0, CUTOFF + difference]])
    found = CanonicalList(CUTOFF + 1e-9, skin=0.0)(atoms)
    check = SelfCheck(CUTOFF, 1)

    check.compare(atoms, found)
    check.compare(atoms, _without(found, 0, 1))


def test_unusual_cells_are_known():
    cubic = bulk("Cu", cubic=True).repeat(3)
    skewed = cubic.copy()
    skewed.set_cell(cubic.cell @ np.array([[1, 0, 0], [3, 1, 0], [0, 0, 1]]))
    mirrored = cubic.copy()
    mirrored.set_cell(cubic.cell[[1, 0, 2]])

    assert not is_unusual(molecule("H2O"), CUTOFF)
    assert not is_unusual(cubic, CUTOFF)
    assert is_unusual(bulk("Cu"), CUTOFF)  # thin
    assert is_unusual(fcc111("Cu", (6, 6, 5), vacuum=9, periodic=False), CUTOFF)
    assert is_unusual(skewed, CUTOFF)
    assert is_unusual(mirrored, CUTOFF)


@pytest.mark.parametrize(
    ("every", "thin", "usual"),
    [
        ("auto", [0, 100, 200], [0]),
        ("never", [], []),
        (3, list(range(0, 201, 3)), list(range(0, 201, 3))),
    ],
)
def test_when_it_is_due(every, thin, usual):
    check = SelfCheck(CUTOFF, every)

    for atoms, expected in ((bulk("Cu"), thin), (molecule("H2O"), usual)):
        assert [n for n in range(201) if check.due(atoms, n)] == expected


def test_the_calculator_refuses_wrong_neighbors(silica, monkeypatch):
    potential = random_potential(lmax=0, num_layers=1)
    right = CanonicalList.__call__
    monkeypatch.setattr(
        CanonicalList,
        "__call__",
        lambda self, atoms: _without_pair(right(self, atoms)),
    )
    checked = EquipotCalculator(potential)
    unchecked = EquipotCalculator(potential, check_neighbors="never")

    with pytest.raises(NeighborMismatchError):
        checked.get_potential_energy(silica)
    with pytest.raises(NeighborMismatchError):
        EquipotCalculator(potential).get_hessian(silica)
    assert np.isfinite(unchecked.get_potential_energy(silica))


def test_large_systems_are_compared_around_a_sample(monkeypatch):
    atoms = bulk("Si", cubic=True).repeat((3, 2, 2))
    atoms.set_cell(atoms.cell.array @ [[1, 0.3, 0], [0, 1, 0.2], [0, 0, 1]], True)
    atoms.rattle(0.1, seed=0)
    edges = CanonicalList(CUTOFF, skin=0.0)(atoms)
    monkeypatch.setattr("equipot.calculators.self_check.SAMPLED_FROM", 90)
    monkeypatch.setattr("equipot.calculators.self_check.SAMPLE", len(atoms))

    SelfCheck(CUTOFF, 1).compare(atoms, edges)
    with pytest.raises(NeighborMismatchError, match="lacks 1, such as atom"):
        SelfCheck(CUTOFF, 1).compare(atoms, _without(edges, 7))
