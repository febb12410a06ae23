"""What a report finds in honest potentials, and in a gallery of broken ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from equipot.graph.atomic_graph import edge_vectors, partial_graph
from equipot.graph.scatter import scatter_sum
from equipot.neighbors import build_graph
from equipot.verify.invariance import invariance_checks
from equipot.verify.meaning import MEANING
from equipot.verify.potential import verify_energy_model, verify_potential
from tests.closed_form_models import LennardJones
from tests.potentials import ARCHITECTURES, random_potential
from tests.verify.broken_models import WithAnEnergy

CLOSEST = 2.5
"""Å; random weights do not repel, and nothing is said about them below this."""


def guarded(a, b):
    return CLOSEST


def failures(report):
    """Names of the failed checks."""
    return {check.name for check in report.failures}


ALWAYS = ("lmax1", "so3", "mace", "tensornet", "nequix", "sevennet")
"""One point of each architecture, and one without mirror images."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ALWAYS else pytest.mark.slow)
        for name in ARCHITECTURES
    ],
)
def test_honest_potentials_pass(name, structures):
    potential = random_potential(**ARCHITECTURES[name])

    found = verify_potential(potential, structures, closest=guarded, level="quick")

    # a discontinuous second derivative is a property of some published models
    jumps = {"smoothness at the cutoff"} if potential.backbone.hessian_jumps else set()
    chiral = potential.backbone.symmetry == "SO(3)"
    assert failures(found) == jumps
    assert len(found.checks) == 44 - chiral
    assert {check.name for check in found.checks} <= set(MEANING)
    mirrors = [note for note in found.notes if "reflections are not checked" in note]
    assert len(mirrors) == chiral


def test_a_closed_form_passes(structures):
    argon = [Atoms("Ar4", np.random.default_rng(0).normal(size=(4, 3)) * 4)]

    found = verify_energy_model(_Shifted(), argon, [18])

    assert failures(found) == set()


class _Shifted(LennardJones):
    """Lennard-Jones atoms whose energy ends smoothly at the cutoff."""

    def __init__(self):
        super().__init__(epsilon=0.01, sigma=3.4, cutoff=8.0)

    def energies(self, vectors, edge_index, count):
        lengths = vectors.norm(dim=1)
        x = (1 - (lengths / self.cutoff) ** 2).clamp(min=0)
        s6 = (self.sigma / lengths) ** 6
        pair = 2 * self.epsilon * (s6**2 - s6) * x**4
        return torch.zeros(count).double().index_add(0, edge_index[1], pair)


class Wrapped:
    """A potential, changed by whatever a subclass does to graphs and predictions."""

    def __init__(self, potential):
        self.potential = potential
        self.cutoff = potential.cutoff
        self.num_layers = potential.num_layers
        self.dtype, self.device = potential.dtype, potential.device

    def __call__(self, graph, outputs, *, create_graph):
        prediction = self.potential(self.see(graph), outputs, create_graph=create_graph)
        return self.tell(graph, prediction)

    def see(self, graph):
        return graph

    def tell(self, graph, prediction):
        return prediction


class NotConservative(Wrapped):
    """Forces are off by a force that no energy has: it circles around an axis."""

    def tell(self, graph, prediction):
        if prediction.forces is None:
            return prediction
        first = graph.positions - graph.positions.mean(0)
        swirl = torch.linalg.cross(first, torch.eye(3).double()[2].expand_as(first))
        return replace(prediction, forces=prediction.forces + 1e-3 * swirl)


class WrongScaleOfForces(Wrapped):
    """Forces are in another unit than the energy, almost."""

    def tell(self, graph, prediction):
        if prediction.forces is None:
            return prediction
        return replace(prediction, forces=1.0001 * prediction.forces)


class FewNeighbors(Wrapped):
    """Each atom sees the nearest twelve of its neighbors only."""

    def see(self, graph):
        vectors = edge_vectors(graph).detach()
        lengths, keep = vectors.norm(dim=1), torch.zeros(graph.num_edges).bool()
        for atom in range(graph.num_atoms):
            mine = (graph.edge_index[1] == atom).nonzero()[:, 0]
            keep[mine[lengths[mine].argsort()[:12]]] = True
        few = replace(
            graph,
            edge_index=graph.edge_index[:, keep],
            edge_shift=graph.edge_shift[keep],
        )
        return partial_graph(few)


class StressOfWrongSign(Wrapped):
    def tell(self, graph, prediction):
        if prediction.stress is None:
            return prediction
        return replace(prediction, stress=-prediction.stress)


class KinkAtCutoff(WithAnEnergy):
    """A pair energy that ends in a kink; its forces are its gradient."""

    def extra(self, graph, lengths, weights):
        energies = 0.01 * (self.cutoff - lengths).clamp(min=0)
        return scatter_sum(energies, graph.edge_index[1], graph.num_atoms)


class Hole(WithAnEnergy):
    """Atoms that come very close fall onto each other."""

    def extra(self, graph, lengths, weights):
        energies = -10.0 * torch.exp(-((lengths / 0.2) ** 2))
        return scatter_sum(energies, graph.edge_index[1], graph.num_atoms)


class Noise(Wrapped):
    """Sums in an order that differs from call to call."""

    calls = 0

    def tell(self, graph, prediction):
        self.calls += 1
        shake = 1e-12 * np.sin(self.calls)
        return replace(prediction, energy=prediction.energy * (1 + shake))


class PreferredDirection(Wrapped):
    """Feels a weak field along z."""

    def tell(self, graph, prediction):
        if prediction.forces is None:
            return prediction
        return replace(prediction, forces=prediction.forces + 1e-7)


class BatchMixes(Wrapped):
    """Structures of a batch share a mean."""

    def tell(self, graph, prediction):
        shift = 1e-6 * (prediction.energy.mean() - prediction.energy)
        return replace(prediction, energy=prediction.energy + shift)


GALLERY = [
    (NotConservative, {"Hessian symmetry", "work along a path"}),
    (WrongScaleOfForces, {"forces by finite differences", "work along a path"}),
    (FewNeighbors, {"work along a path"}),
    (StressOfWrongSign, {"stress by finite differences"}),
    (KinkAtCutoff, {"smoothness at the cutoff"}),
    (Noise, {"repeatability"}),
    (PreferredDirection, {"rotation"}),
    (BatchMixes, {"batch independence"}),
]


@pytest.mark.parametrize(("broken", "expected"), GALLERY)
def test_broken_potentials_are_caught(broken, expected, structures):
    potential = random_potential(lmax=1, num_layers=1, channels=2)

    found = verify_energy_model(
        broken(potential),
        structures,
        potential.elements,
        closest=guarded,
        level="quick",
    )

    assert expected <= failures(found)


def test_a_hole_at_short_range_is_found_unless_the_potential_refuses_to_go_there():
    model = Hole(random_potential(lmax=1, num_layers=1, channels=2))
    water = [Atoms("OH2", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])]

    free = verify_energy_model(model, water, [1, 8], level="quick")
    refusing = verify_energy_model(model, water, [1, 8], closest=guarded, level="quick")

    assert failures(free) == {
        "short-range attraction, pairs",
        "short-range attraction, clusters",
    }
    hole, clusters = free.failures
    assert hole.where.endswith("at 0.30 Å")
    # 2 x 10 eV x exp(-1.5^2), as each pair has two edges
    assert hole.difference.max_abs == pytest.approx(2.1, abs=0.2)
    assert clusters.where.endswith("at 0.30 Å")
    assert refusing.passed
    assert len(free.notes) == 1
    assert "at 0.30 Å) and 1 more" not in refusing.notes[1]
    assert "shorter than in training and than any bond" in refusing.notes[1]


def test_constants_in_single_precision_are_found(structures):
    from equipot.constants import Constant

    potential = random_potential(lmax=2, num_layers=3)
    for block in potential.backbone.layers:
        product = block.tensor_product
        rounded = product._couplings.like(torch.zeros(0).double()).float().double()
        product._couplings = Constant(rounded)

    checks = invariance_checks(potential, structures, lightly=True)

    assert "rotation" in {check.name for check in checks if not check.passed}


def test_nothing_is_certified_without_atoms():
    potential = random_potential(lmax=0, num_layers=1)

    with pytest.raises(ValueError, match="no atoms to verify on"):
        verify_energy_model(potential, [Atoms()], potential.elements)


def test_neighbors_are_those_of_another_search(structures, monkeypatch):
    from equipot.verify import arithmetic

    right = arithmetic.neighbor_list

    def short(positions, cell, pbc, cutoff, backend):
        return right(
            positions, cell, pbc, cutoff - (backend == "auto"), backend=backend
        )

    monkeypatch.setattr(arithmetic, "neighbor_list", short)
    model = random_potential(lmax=0, num_layers=1)

    found = arithmetic.neighbor_check(model, structures)

    missing = sum(
        build_graph(a, 4.0).num_edges - build_graph(a, 3.0).num_edges
        for a in structures
    )
    assert not found.passed
    assert found.difference.max_abs == missing
