"""Potentials that are right for two small structures, and wrong in what users have."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from equipot.graph.atomic_graph import edge_vectors
from equipot.graph.scatter import scatter_sum
from equipot.models.build import with_backend
from equipot.models.differentiable import constant_weights
from equipot.neighbors import build_graph
from equipot.verify.arithmetic import many_calls_check, precision_checks
from equipot.verify.backend import make_probes
from equipot.verify.conservation import conservation_checks
from equipot.verify.consistency import consistency_of_each
from equipot.verify.dimers import scan_dimers
from equipot.verify.generated import generate, tiled
from equipot.verify.invariance import invariance_checks
from equipot.verify.kinks import kink_check, lines_of_pairs, lines_of_structures
from equipot.verify.meaning import MEANING
from equipot.verify.outputs import output_checks
from equipot.verify.periodicity import vacuum_check
from equipot.verify.potential import verify_energy_model, verify_potential
from equipot.verify.strength import (
    bond_checks,
    cluster_check,
    compressed_cluster_check,
    measure_bonds,
)
from equipot.verify.subject import Subject
from tests.closed_form_models import LennardJones
from tests.potentials import random_potential
from tests.verify import broken_models as broken

PAIRS = [(1, 1), (1, 8), (8, 8)]


def closest(a, b):
    return 1.8


@pytest.fixture(scope="module")
def right():
    return random_potential((1, 8), lmax=1, num_layers=1, channels=2)


@pytest.fixture(scope="module")
def made(right):
    return generate(right.elements, right.cutoff, closest)


@pytest.fixture(scope="module")
def kinds(made):
    """Structures of all kinds that symmetries are looked at on."""
    return [made.crystal, made.compressed, made.one_atom, made.slab, made.wire]


def failed(checks):
    return {check.name for check in checks if not check.passed}


def test_generated_structures_are_of_every_kind(right, made):
    def edges(atoms):
        return build_graph(atoms, right.cutoff).num_edges

    crowded = tiled(made.compressed, 136, right.cutoff)
    neighbors = build_graph(crowded, right.cutoff).edge_index[1].bincount()
    images = build_graph(made.one_atom, right.cutoff).edge_shift.abs()

    assert len(crowded) > 128
    assert edges(crowded) >= 20_000
    assert int(neighbors.min()) > 100
    assert int(images.max()) >= 2
    assert [a.pbc.sum() for a in (made.crystal, made.slab, made.wire)] == [3, 2, 1]
    assert not made.cluster.pbc.any()
    assert np.linalg.det(made.left_handed.cell.array) < 0
    assert edges(made.boxed) > edges(made.cluster)
    for atoms in made.named().values():
        assert edges(atoms) > 0
        assert len(tiled(atoms, 136, right.cutoff)) > 128


def test_symmetries_hold_on_all_kinds(right, kinds, made):
    assert failed(invariance_checks(right, [*kinds, made.cluster])) == set()
    assert vacuum_check(right, [made.cluster, made.slab, made.wire]).passed


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (broken.ManyAtoms, "size extensivity, many copies"),
        (broken.VeryManyAtoms, "size extensivity, many copies"),
        (broken.ForgetsForces, "size extensivity, many copies"),
        (broken.ManyEdges, "size extensivity, many copies"),
        (broken.VeryManyEdges, "size extensivity, many copies"),
        (broken.FirstNeighbors, "permutation"),
        (broken.NoSelfImages, "size extensivity, many copies"),
        (broken.StressOfOneAtom, "size extensivity, many copies"),
        (broken.NearImagesOnly, "equivalent unit cell"),
        (broken.SignOfVolume, "left-handed cell"),
        (broken.NearOrigin, "large translation"),
        (broken.PositionsInFloat32, "large translation"),
        (broken.NumberedFeatures, "permutation"),
    ],
)
def test_symmetries_that_break_in_some_structures_only(model, expected, right, kinds):
    subject = Subject(model(right), 8)

    assert expected in failed(invariance_checks(subject, kinds))


@pytest.mark.parametrize(
    "model", [broken.SomePeriodicity, broken.OnePeriodicity, broken.NoPeriodicity]
)
def test_periodic_directions_through_vacuum_do_not_matter(model, right, made):
    found = vacuum_check(model(right), [made.cluster])

    assert not found.passed
    assert found.difference.relative > 1e-6


def test_neighbors_that_are_left_out_in_crowded_structures(right, made):
    model = broken.FewNeighbors(right)

    assert failed(conservation_checks(right, [made.compressed])) == set()
    assert failed(conservation_checks(model, [made.crystal])) == set()
    assert failed(conservation_checks(model, [made.compressed])) == {
        "work along a path"
    }


def test_stress_is_differentiated_for_models_of_molecules(right, made):
    molecule_in_a_box = generate(
        right.elements, right.cutoff, closest, molecule=molecule("H2O")
    ).boxed

    (good, *_), (bad, *_) = (
        [c for c in _differences(model, molecule_in_a_box) if c.quantity == "stress"]
        for model in (right, broken.StressOfWrongSize(right))
    )

    assert good.passed
    assert not bad.passed


def _differences(model, atoms):
    return consistency_of_each(model, make_probes(model, [atoms], 1, 0), 1.0)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (broken.AnotherHessian, "Hessian-vector products"),
        (broken.OtherFeatures, "independence of requested outputs"),
        (broken.EnergyAlone, "independence of requested outputs"),
        (broken.OtherEnergies, "sum of atomic energies"),
    ],
)
def test_outputs_are_compared_with_each_other(model, expected, right, made):
    assert failed(output_checks(Subject(right, 8), [made.crystal])) == set()
    assert failed(output_checks(Subject(model(right), 8), [made.crystal])) == {expected}


@pytest.mark.parametrize("model", [broken.SometimesWrong, broken.SometimesOtherForces])
def test_one_wrong_call_in_hundreds_is_found(model):
    argon = LennardJones(epsilon=0.01, sigma=3.4, cutoff=8.0)

    assert many_calls_check(argon, 18, 20).passed
    assert not many_calls_check(model(argon), 18, 600).passed


@pytest.mark.parametrize("model", [broken.Hole, broken.SmallHole])
def test_holes_at_distances_that_are_used_are_found(model, right):
    good, bad = (
        bond_checks(measure_bonds(m, PAIRS, closest)) for m in (right, model(right))
    )

    assert failed(good) == set()
    assert failed(bad) == {"bond-strength limits"}
    pull = next(c for c in bad if c.quantity == "attraction")
    pair = "H-O" if model is broken.Hole else "O-O"
    assert pull.where.startswith(pair)
    inflection = model.place + model.width * 0.5**0.5
    assert float(pull.where.split()[-2]) == pytest.approx(inflection, abs=0.05)


@pytest.mark.parametrize("model", [broken.TriplesCollapse, broken.ClustersCollapse])
def test_clusters_that_collapse_are_found(model, right):
    good, bad = (
        cluster_check(m, (1, 8), closest, measure_bonds(m, PAIRS, closest))
        for m in (right, model(right))
    )

    assert good.passed
    assert not bad.passed
    assert bad.where


def test_clusters_that_collapse_closer_than_bonds_are_found(right):
    repelling = random_potential((1, 8), lmax=0, num_layers=1, channels=2, zbl=True)

    good, bad = (
        compressed_cluster_check(m, scan_dimers(m, [(1, 1)], None), (1,))
        for m in (repelling, broken.ClustersCollapse(right))
    )

    assert good.passed
    assert not bad.passed


@pytest.mark.parametrize("model", [broken.KinkOfForce, broken.KinkOfCurvature])
def test_kinks_of_pairs_inside_of_the_cutoff_are_found(model, right):
    lines = lines_of_pairs([(1, 8)], right.cutoff, closest)[:1]

    good, bad = (kink_check(m, lines, typical=1.0) for m in (right, model(right)))

    assert good.passed
    assert not bad.passed
    assert float(bad.where.split()[-1]) == pytest.approx(model.place, abs=0.1)


def test_kinks_that_more_than_two_atoms_make_are_found_on_paths(right, made):
    lines = lines_of_structures([made.cluster, made.crystal])
    graph = build_graph(made.crystal, right.cutoff)
    lengths = edge_vectors(graph).norm(dim=1)
    weights = (1 - (lengths / right.cutoff) ** 2) ** 4
    wrong = broken.KinkInDensity(right)
    wrong.place = float(scatter_sum(weights, graph.edge_index[1], 8).median())

    with constant_weights(right):
        good, bad = (kink_check(m, lines, typical=1.0) for m in (right, wrong))

    assert good.passed
    assert not bad.passed


@pytest.mark.parametrize("model", [broken.Raises, broken.ForgetsStress])
def test_what_a_model_raises_is_a_failure_that_is_told(model, right):
    subject = model(right)
    found = verify_energy_model(subject, [molecule("H2O")], (1, 8), level="quick")

    assert not found.passed
    told = [c.reason for c in found.failures if c.where == "no result"]
    assert told
    assert all("it raised" in reason or "returned no" in reason for reason in told)
    assert {check.name for check in found.checks} <= set(MEANING)


def test_every_structure_that_is_given_is_looked_at(right):
    class WrongForOzone(broken.Wrapped):
        def tell(self, graph, found, outputs):
            ozone = graph.num_atoms == 3 and bool((graph.atomic_numbers == 8).all())
            if found.forces is None or not ozone:
                return found
            return replace(found, forces=1.001 * found.forces)

    names = ["H2O", "H2", "O2", "OH", "H2O2", "O3"]
    given = [molecule(name) for name in names]
    for atoms in given:
        atoms.rattle(0.05, seed=1)

    found = verify_energy_model(
        WrongForOzone(right), given, (1, 8), level="quick", closest=closest
    )

    assert found.structures == len(names)
    assert "forces by finite differences" in failed(found.checks)


def perfect_crystals():
    zinc_blende = bulk("ZnS", "zincblende", a=3.4)
    zinc_blende.numbers[:] = 8, 1
    chain = Atoms("O", cell=[1.5, 9, 9], pbc=(True, False, False))
    return {
        "simple cubic": bulk("O", "sc", a=2.2),
        "face-centered": bulk("O", "fcc", a=3.6),
        "body-centered": bulk("H", "bcc", a=2.6),
        "diamond": bulk("O", "diamond", a=4.0, cubic=True),
        "two atoms": zinc_blende,
        "chain": chain,
        "square": Atoms("O", cell=[2.1, 2.1, 9], pbc=(True, True, False)),
        "free atom": Atoms("O"),
        "dimer": Atoms("O2", [[0, 0, 0], [0, 0, 2.0]]),
    }


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name,
            marks=() if name in ("diamond", "chain", "dimer") else pytest.mark.slow,
        )
        for name in perfect_crystals()
    ],
)
def test_no_false_alarm_where_symmetry_makes_forces_vanish(name, right):
    crystal = perfect_crystals()[name]

    found = verify_potential(right, [crystal], closest=closest, level="quick")

    assert failed(found.checks) == set()


def test_no_false_alarm_where_energies_are_those_of_all_electrons():
    """Float64 knows 30 MeV to 4e-9 eV only; references of gold are 0.5 MeV an atom."""
    heavy = random_potential((79,), lmax=1, num_layers=1, channels=2)
    with_references = type(heavy)(
        heavy.backbone, heavy.head, {79: -518_000.0}, heavy.scale, heavy.shift
    ).eval()

    found = verify_potential(
        with_references, [bulk("Au")], closest=lambda a, b: 2.4, level="quick"
    )

    assert failed(found.checks) == set()


def test_float32_is_looked_at_in_all_quantities(right, made):
    wrong = with_backend(right, "wrong_in_float32")

    good, bad = (precision_checks(m, [made.crystal]) for m in (right, wrong))

    assert failed(good) == set()
    names = {"energy", "forces", "stress", "Hessian-vector", "total energy"}
    assert {c.quantity for c in good} == names
    assert {c.quantity for c in bad if not c.passed} >= {"stress", "Hessian-vector"}


def test_references_in_float32_are_found(right, made, monkeypatch):
    def in_single_precision(self, *arguments, **named):
        energies, features = energies_of(self, *arguments, **named)
        if self.dtype == torch.float32:
            energies = energies.float().double()
        return energies, features

    energies_of = type(right)._energies
    monkeypatch.setattr(type(right), "_energies", in_single_precision)
    heavy = type(right)(
        right.backbone, right.head, {1: -13.6, 8: -2041.8}, right.scale, right.shift
    ).eval()

    found = precision_checks(heavy, [made.crystal], typical=1.0)

    assert {c.quantity for c in found if not c.passed} == {"total energy"}


def test_a_certificate_says_how_much_a_mirror_changes():
    handed = random_potential((1, 8), symmetry="SO(3)", lmax=1, channels=2)
    crystal = molecule("H2O2")

    found = verify_potential(handed, [crystal], closest=closest, level="quick")

    (note,) = [note for note in found.notes if "reflection" in note]
    assert "reflections change the energy by up to" in note
    assert "reflection" not in {check.name for check in found.checks}


def test_unknown_levels_are_refused(right):
    with pytest.raises(ValueError, match="use one of quick, standard, thorough"):
        verify_energy_model(right, [molecule("H2O")], (1, 8), level="deep")


def test_a_standard_certificate_names_every_kind_once(right):
    found = verify_potential(right, [molecule("H2O")], closest=closest)

    assert failed(found.checks) == set()
    assert {c.name for c in found.checks} == set(MEANING) - {"clebsch_gordan"}
    labels = [(c.name, c.quantity) for c in found.checks]
    assert len(labels) == len(set(labels))
    assert found.notes == ()
