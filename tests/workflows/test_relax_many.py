"""Structures that relax together take the steps and reach the minima of single ones."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.optimize import FIRE, LBFGS

from equipot.workflows import relax, relax_many
from tests.workflows.analytic_potentials import (
    OneByOne,
    lennard_jones,
    morse,
    stillinger_weber_silicon,
)


@pytest.fixture
def clusters():
    """Rattled clusters of different sizes; one atom of one is fixed."""
    rng = np.random.default_rng(1)
    corners = 1.15 * np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0)])
    made = []
    for size in (2, 3, 5, 4):
        positions = corners[:size] + rng.normal(0, 0.05, (size, 3))
        made.append(Atoms(f"Ar{size}", positions))
    made[2].set_constraint(FixAtoms([0]))
    return made


@pytest.mark.parametrize(("method", "optimizer"), [("L-BFGS", LBFGS), ("FIRE", FIRE)])
def test_each_takes_the_steps_of_the_optimizer_of_ase(clusters, method, optimizer):
    potential = morse(3.0, 1.0, 1.12)  # with positive curvatures, see BatchedLBFGS

    found = relax_many(clusters, OneByOne(potential), method=method, max_steps=9)

    for start, result in zip(clusters, found, strict=True):
        single = start.copy()
        single.calc = potential
        run = optimizer(single, logfile=None, maxstep=0.2)
        run.run(fmax=1e-3, steps=9)
        assert result.steps == run.nsteps
        np.testing.assert_allclose(
            result.atoms.positions, single.positions, rtol=0, atol=1e-10
        )


@pytest.mark.parametrize("method", ["L-BFGS", "FIRE"])
def test_the_converged_ones_leave_the_batch(clusters, method):
    potential = lennard_jones(1.0, 1.0)
    batches = OneByOne(potential)
    seen = []

    found = relax_many(
        clusters, batches, method=method, observer=lambda *done: seen.append(done)
    )

    assert all(result.converged for result in found)
    assert max(result.steps for result in found) == len(batches.sizes) - 1
    assert batches.sizes[-1] < batches.sizes[0] == 4
    assert seen[-1] == (4, 4)
    for start, result in zip(clusters, found, strict=True):
        start.calc = potential
        single = relax(start)
        assert result.energy == pytest.approx(single.energy, abs=1e-5)
        assert result.start_energy == pytest.approx(single.start_energy, abs=1e-12)
    any_calculator = relax_many(clusters, potential, method=method)
    assert [r.energy for r in any_calculator] == [r.energy for r in found]
    fixed = clusters[2].positions[0]
    np.testing.assert_array_equal(found[2].atoms.positions[0], fixed)
    assert found[2].atoms.constraints


def test_cells_relax_by_the_filter_of_single_relaxations():
    silicon = [bulk("Si", "diamond", a=a) for a in (5.3, 5.5)]
    for seed, atoms in enumerate(silicon):
        atoms.rattle(0.05, seed=seed)
    potential = stillinger_weber_silicon()

    found = relax_many(silicon, OneByOne(potential), cell=True, pressure=1.0, fmax=1e-4)

    silicon[0].calc = potential
    single = relax(silicon[0], cell=True, pressure=1.0, fmax=1e-4)
    for result in found:
        assert result.converged
        assert result.enthalpy == pytest.approx(single.enthalpy, abs=1e-6)
        assert result.atoms.get_volume() == pytest.approx(
            single.atoms.get_volume(), rel=1e-4
        )


def test_errors_name_the_structure(clusters):
    class NoStress(OneByOne):
        def evaluate(self, structures, properties=("energy",), *, numbers=None):
            found = super().evaluate(structures, properties, numbers=numbers)
            for one in found:
                one.results.pop("stress", None)
            return found

    silicon = bulk("Si", "diamond", a=5.3)
    with pytest.raises(ValueError, match=r"structure 0: .*needs a stress"):
        relax_many([silicon], NoStress(stillinger_weber_silicon()), cell=True)
    with pytest.raises(ValueError, match=r"structure 1: .*along periodic directions"):
        relax_many([silicon, clusters[0]], OneByOne(None), cell=True)
    with pytest.raises(ValueError, match="structure 1: expected at least one atom"):
        relax_many([clusters[0], Atoms()], OneByOne(None))
    with pytest.raises(ValueError, match="unknown method 'BFGS'"):
        relax_many(clusters, OneByOne(None), method="BFGS")
    assert relax_many([], OneByOne(None)) == []
