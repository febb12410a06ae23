"""Frozen potentials against the potentials that they were made of."""

import copy

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule

from equipot.frozen import (
    FrozenMismatchError,
    FrozenPotential,
    UnsupportedModelError,
)
from equipot.graph.atomic_graph import collate
from equipot.neighbors import build_graph
from equipot.ops.library import cpu_instruction_set
from tests.potentials import ARCHITECTURES, random_potential

OUTPUTS = ("energy", "forces", "stress", "stresses", "features")
TOLERANCES = {torch.float64: 1e-8, torch.float32: 2e-5}
"""Relative to the largest force or feature: splines have relative errors of slopes of
1e-10 and 3e-7, see `equipot.frozen.radial`, and sums in float32 are rounded."""


def structures() -> list[Atoms]:
    """Molecule, crystal with a thin cell, slab, lone atom, two distant atoms."""
    rng = np.random.default_rng(0)
    thin = bulk("Si", cubic=True)
    thin.numbers[:3] = (6, 1, 8)
    slab = fcc111("Si", (1, 2, 2), a=5.0, vacuum=4.0)
    slab.numbers[0] = 8
    far = Atoms("OH", [(0, 0, 0), (0, 0, 9)])
    out = [molecule("CH3CH2OH"), thin, slab, Atoms("C"), far]
    for atoms in out:
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
    return out


CASES = [(name, torch.float64) for name in sorted(ARCHITECTURES)]
CASES += [
    (name, torch.float32) for name in ("lmax2", "mace", "sevennet", "tensornet", "zbl")
]


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=str)
def test_predictions_equal_those_of_the_potential(name, dtype):
    potential = random_potential(**ARCHITECTURES[name]).to(dtype)
    frozen = FrozenPotential(potential)
    graphs = [build_graph(a, potential.cutoff) for a in structures()]
    for graph in (collate(graphs), graphs[0]):
        expected = potential(graph, OUTPUTS, create_graph=False)
        found = frozen(graph, OUTPUTS)
        largest = float(expected.forces.abs().max())
        for output in ("energy", "energies", *OUTPUTS[1:]):
            a, b = getattr(expected, output), getattr(found, output)
            scale = largest if output != "features" else float(a.abs().max())
            torch.testing.assert_close(
                b,
                a.to(b.dtype),
                rtol=1e-12,
                atol=TOLERANCES[dtype] * scale,
                equal_nan=True,
            )


@pytest.mark.parametrize("isa", ["avx2", "portable"])
def test_every_instruction_set(isa, monkeypatch):
    monkeypatch.setenv("EQUIPOT_CPU_ISA", isa)
    if cpu_instruction_set() != isa:
        pytest.skip(f"this processor does not have {isa}")
    # one narrow and one wide map, and most of the instructions
    potential = random_potential(architecture="tensornet", num_layers=2, channels=20)
    graph = build_graph(molecule("CH3CH2OH"), potential.cutoff)
    expected = potential(graph, ("energy", "forces"), create_graph=False)
    found = FrozenPotential(potential)(graph, ("energy", "forces"))
    torch.testing.assert_close(found.energies, expected.energies, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.forces, expected.forces, rtol=0, atol=1e-7)


def test_unsupported_parts_are_named():
    with pytest.raises(UnsupportedModelError, match="Absolute"):
        FrozenPotential(random_potential(readout_activation="abs"))


@pytest.fixture(scope="module")
def potential():
    return random_potential(lmax=1, num_layers=2, zbl=True)


@pytest.fixture(scope="module")
def frozen(potential):
    return FrozenPotential(potential)


def test_isolated_atoms_have_their_reference_energy(potential, frozen):
    graph = build_graph(Atoms("CHO", np.diag([0, 50, 100])), potential.cutoff)
    expected = [potential.reference_energies[z] for z in (6, 1, 8)]
    assert frozen(graph).energies.tolist() == expected


def test_results_do_not_depend_on_the_number_of_threads(frozen):
    graph = build_graph(bulk("Si", cubic=True).repeat(3), frozen.cutoff)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(frozen(graph))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0].energies, results[1].energies)
    assert torch.equal(results[0].forces, results[1].forces)


def test_later_changes_of_weights_have_no_effect(potential):
    changed = copy.deepcopy(potential)
    frozen = FrozenPotential(changed)
    graph = build_graph(molecule("H2O"), changed.cutoff)
    before = frozen(graph).forces
    with torch.no_grad():
        for weight in changed.parameters():
            weight.mul_(2)
    assert torch.equal(frozen(graph).forces, before)


def test_edges_shorter_than_the_tables_are_evaluated_by_the_potential(
    potential, frozen
):
    graph = build_graph(Atoms("OH", [(0, 0, 0), (0, 0, 0.2)]), potential.cutoff)
    expected = potential(graph, ("energy", "forces"), create_graph=False)
    found = frozen(graph, ("energy", "forces"))
    assert torch.equal(found.energy, expected.energy)
    assert torch.equal(found.forces, expected.forces)


def test_other_requests_are_passed_on(potential, frozen):
    graph = build_graph(molecule("H2O"), potential.cutoff)
    assert frozen(graph, ("energy",), create_graph=True).energy.requires_grad


def test_cells_and_elements_changed_in_place_are_noticed(potential, frozen):
    graph = build_graph(bulk("Si", cubic=True), potential.cutoff)
    frozen(graph)
    graph.cell.mul_(1.01)
    graph.positions.mul_(1.01)
    graph.atomic_numbers[0] = 6
    expected = potential(graph, ("energy",), create_graph=False)
    torch.testing.assert_close(frozen(graph).energy, expected.energy)


def test_unknown_elements_and_short_graphs_are_refused(potential, frozen):
    with pytest.raises(ValueError, match="supports the elements"):
        frozen(build_graph(Atoms("Fe"), potential.cutoff))
    with pytest.raises(ValueError, match="cutoff of the graph"):
        frozen(build_graph(Atoms("C"), potential.cutoff - 0.5))


def test_copies_predict_the_same(frozen):
    graph = build_graph(molecule("H2O"), frozen.cutoff)
    twin = copy.deepcopy(frozen)
    assert torch.equal(twin(graph).forces, frozen(graph).forces)


def test_programs_that_differ_from_their_potential_are_refused(monkeypatch):
    frozen = FrozenPotential(random_potential(lmax=1, num_layers=2))
    monkeypatch.setattr("equipot.frozen.interaction.SILU_GAIN", 1.7)
    with pytest.raises(FrozenMismatchError, match="of a test cluster"):
        frozen(build_graph(molecule("H2O"), frozen.cutoff))
