"""Lines of a certificate, one by one, in potentials with one fault each."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from equipot.graph.atomic_graph import edge_vectors
from equipot.graph.scatter import scatter_sum
from equipot.models.build import with_backend
from equipot.verify import arithmetic
from equipot.verify.arithmetic import neighbor_check, precision_checks, repetition_check
from equipot.verify.dimers import hole_check, scan_dimers
from equipot.verify.dynamics import drift_check, measure_drift
from equipot.verify.invariance import invariance_checks
from equipot.verify.limits import free_atom_check, separation_check
from equipot.verify.scans import MAX_PAIRS, choose_pairs
from tests.closed_form_models import LennardJones
from tests.potentials import random_potential


@pytest.fixture(scope="module")
def potential():
    return random_potential((1, 8, 14), lmax=0, num_layers=1, channels=2)


@pytest.fixture(scope="module")
def pair_of_structures():
    water, crystal = molecule("H2O"), bulk("Si")
    for atoms in (water, crystal):
        atoms.rattle(0.1, seed=1)
    return [water, crystal]


class Spoilt:
    """A potential whose energy of each structure is changed by something."""

    def __init__(self, potential):
        self.potential = potential
        self.cutoff, self.num_layers = potential.cutoff, potential.num_layers
        self.dtype, self.device = potential.dtype, potential.device

    def extra(self, graph):
        """Energies to add, one for each atom."""
        raise NotImplementedError

    def forces(self, graph):
        """Forces to add."""
        return 0.0

    def __call__(self, graph, outputs, *, create_graph):
        found = self.potential(graph, outputs, create_graph=create_graph)
        energy = found.energy + scatter_sum(
            self.extra(graph).detach(), graph.batch, graph.num_graphs
        )
        forces = found.forces
        if forces is not None:
            forces = forces + self.forces(graph)
        return replace(found, energy=energy, forces=forces)


class KnowsThePlace(Spoilt):
    def extra(self, graph):
        return 1e-6 * graph.positions[:, 2]


class KnowsTheOrder(Spoilt):
    def extra(self, graph):
        count = torch.arange(graph.num_atoms).double()
        return 1e-6 * count * graph.atomic_numbers


class NotExtensive(Spoilt):
    def extra(self, graph):
        sizes = torch.bincount(graph.batch, minlength=graph.num_graphs)
        return 1e-6 * sizes[graph.batch].double()


class CountsAllPairs(Spoilt):
    """Pairs beyond the cutoff count as well, if they are in the graph."""

    def extra(self, graph):
        far = (edge_vectors(graph).norm(dim=1) > self.cutoff).double()
        return 1e-6 * scatter_sum(far, graph.edge_index[1], graph.num_atoms)


class AnotherZero(Spoilt):
    def extra(self, graph):
        return torch.full((graph.num_atoms,), 1e-6).double()


class Stirs(Spoilt):
    """Forces turn all atoms around an axis, which no energy pays for."""

    def extra(self, graph):
        return torch.zeros(graph.num_atoms).double()

    def forces(self, graph):
        arms = graph.positions - graph.positions.mean(0)
        return torch.linalg.cross(arms, 5 * torch.eye(3).to(arms)[2].expand_as(arms))


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (KnowsThePlace, {"translation", "rotation", "reflection"}),
        (KnowsTheOrder, {"permutation"}),
        (NotExtensive, {"size extensivity, two copies"}),
        (CountsAllPairs, {"padding beyond the cutoff"}),
    ],
)
def test_structures_written_otherwise_show_it(
    broken, expected, potential, pair_of_structures
):
    found = invariance_checks(broken(potential), pair_of_structures)

    assert expected <= {check.name for check in found if not check.passed}
    assert all(c.passed for c in invariance_checks(potential, pair_of_structures))


def test_a_handed_potential_must_not_claim_reflections(ethanol):
    handed = random_potential((1, 6, 8), symmetry="SO(3)", lmax=1)

    claimed = invariance_checks(handed, [ethanol])
    honest = invariance_checks(handed, [ethanol], reflections=False)

    assert {c.name for c in claimed if not c.passed} == {"reflection"}
    assert all(c.passed for c in honest)


def test_free_atoms_have_the_energy_that_is_stated(potential):
    stated, wrong = potential.reference_energies, AnotherZero(potential)

    assert free_atom_check(potential, [1, 8], stated).passed
    assert not free_atom_check(wrong, [1, 8], stated).passed
    assert separation_check(wrong, [(1, 8)]).passed
    assert not separation_check(NotExtensive(potential), [(1, 8)]).passed


def test_energy_that_is_not_conserved_does_not_fall_with_the_time_step(
    potential, pair_of_structures
):
    right, wrong = (
        measure_drift(model, pair_of_structures[0])
        for model in (potential, Stirs(potential))
    )

    assert drift_check(right).passed
    assert right.exponent == pytest.approx(2, abs=0.1)
    assert right.time_steps == (0.5, 0.25)
    assert not drift_check(wrong).passed
    assert wrong.exponent < 1


def test_the_time_step_is_short_where_atoms_start_on_a_steep_slope():
    """Two argon atoms at half of their distance: 2000 eV/Å."""
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 1.7]])

    drift = measure_drift(LennardJones(epsilon=0.01, sigma=3.4, cutoff=8.0), atoms)

    assert drift.time_steps[0] < 0.5
    assert drift.largest[0] < 0.01
    assert drift_check(drift).passed


def test_single_precision_is_compared_with_double(potential, pair_of_structures):
    wrong = with_backend(potential, "wrong_in_float32")

    right = precision_checks(potential, pair_of_structures, typical=1.0)
    assert all(c.passed for c in right)
    found = {
        c.quantity for c in precision_checks(wrong, pair_of_structures) if not c.passed
    }
    assert "forces" in found


def test_the_other_search_is_another_one(pair_of_structures, potential, monkeypatch):
    used = []
    right = arithmetic.neighbor_list

    def noted(*structure, backend):
        found = right(*structure, backend=backend)
        used.append(found.backend)
        return found

    monkeypatch.setattr(arithmetic, "neighbor_list", noted)

    found = neighbor_check(potential, pair_of_structures)

    assert found.passed
    assert found.difference.scale > 1
    assert used == ["vesin", "brute_force"] * 2


def test_repetition_is_judged_by_the_size_of_each_quantity(
    potential, pair_of_structures
):
    found = repetition_check(potential, pair_of_structures)

    assert found.passed
    assert found.difference.tolerance == 0


def test_a_nan_in_a_scan_is_a_hole(potential):
    (scan,) = scan_dimers(potential, [(1, 1)], None)
    energies = scan.energies.copy()
    energies[0] = np.nan

    assert not hole_check([replace(scan, energies=energies)]).passed


def test_many_elements_are_looked_at_in_part_but_each_of_them():
    few, many, most = (choose_pairs(range(1, n + 1)) for n in (3, 30, 80))

    assert len(few) == 6
    assert len(many) == len(set(many)) == MAX_PAIRS
    assert {z for pair in many for z in pair} == set(range(1, 31))
    assert {z for pair in most for z in pair} == set(range(1, 81))
