import math
from dataclasses import replace

import pytest
import torch
from ase.build import bulk, molecule
from torch.testing import assert_close

from equipot.data.labels import Labels
from equipot.graph.atomic_graph import AtomicGraph, collate
from equipot.models.prediction import Prediction
from equipot.neighbors import build_graph
from equipot.training.loss import EnergyForcesStressLoss, LossTerm, add_penalties
from tests.potentials import random_potential

NAN = float("nan")


def constant(weight, **settings):
    return LossTerm(((0, weight),), **settings)


def graph_of(sizes: list[int]) -> AtomicGraph:
    n = sum(sizes)
    return AtomicGraph(
        positions=torch.zeros(n, 3, dtype=torch.float64),
        atomic_numbers=torch.ones(n, dtype=torch.long),
        cell=torch.zeros(len(sizes), 3, 3, dtype=torch.float64),
        pbc=torch.zeros(len(sizes), 3, dtype=torch.bool),
        batch=torch.tensor([i for i, size in enumerate(sizes) for _ in range(size)]),
        edge_index=torch.zeros(2, 0, dtype=torch.long),
        edge_shift=torch.zeros(0, 3, dtype=torch.long),
        cutoff=5.0,
    )


@pytest.fixture
def case(generator):
    """Random predictions and labels of structures with 1, 2 and 4 atoms."""

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    prediction = Prediction(normal(3), normal(7), normal(7, 3), normal(3, 3, 3))
    return (
        prediction,
        graph_of([1, 2, 4]),
        Labels(normal(3), normal(7, 3), normal(3, 3, 3)),
    )


def value(loss, case, epoch=0):
    return loss.combine(loss.penalties(*case), epoch)


def test_loss_is_the_weighted_sum_of_mean_squares(case):
    prediction, _, labels = case
    loss = EnergyForcesStressLoss(
        {"energy": constant(2.0), "forces": constant(3.0), "stress": constant(5.0)}
    )

    atoms = torch.tensor([1.0, 2.0, 4.0])
    expected = (
        2 * (((prediction.energy - labels.energy) / atoms) ** 2).mean()
        + 3 * ((prediction.forces - labels.forces) ** 2).mean()
        + 5 * ((prediction.stress - labels.stress) ** 2).mean()
    )

    assert_close(value(loss, case), expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    ("kind", "penalty"),
    [
        ("mae", torch.abs),
        (
            "huber",
            lambda x: torch.where(x.abs() < 0.3, x**2 / 2, 0.3 * (x.abs() - 0.15)),
        ),
    ],
)
def test_penalties_other_than_squares(case, kind, penalty):
    prediction, _, labels = case
    loss = EnergyForcesStressLoss({"forces": constant(1.0, kind=kind, delta=0.3)})

    expected = penalty(prediction.forces - labels.forces).mean()

    assert_close(value(loss, case), expected, rtol=1e-14, atol=0)


def test_energies_can_be_learned_per_structure(case):
    prediction, _, labels = case
    loss = EnergyForcesStressLoss({"energy": constant(1.0, per_atom=False)})

    assert_close(value(loss, case), ((prediction.energy - labels.energy) ** 2).mean())


def test_absent_labels_change_neither_loss_nor_count(case):
    prediction, graph, labels = case
    loss = EnergyForcesStressLoss({"energy": constant(1.0), "forces": constant(1.0)})
    labels.energy[1] = NAN
    labels.forces[3:] = NAN

    penalties = loss.penalties(prediction, graph, labels)

    assert penalties["energy"].count == 2
    assert penalties["forces"].count == 9
    assert torch.isfinite(loss.combine(penalties))


def test_a_batch_without_any_label_has_no_loss(case):
    prediction, graph, labels = case
    loss = EnergyForcesStressLoss({"energy": constant(1.0)})
    labels.energy[:] = NAN

    assert value(loss, (prediction, graph, labels)) == 0


def test_loss_of_a_set_does_not_depend_on_its_batches(case):
    prediction, _, labels = case
    loss = EnergyForcesStressLoss({"energy": constant(1.0), "forces": constant(2.0)})

    def part(structures, atoms, sizes):
        return loss.penalties(
            Prediction(
                prediction.energy[structures],
                prediction.energies[atoms],
                prediction.forces[atoms],
            ),
            graph_of(sizes),
            Labels(
                labels.energy[structures],
                labels.forces[atoms],
                labels.stress[structures],
            ),
        )

    first = part(slice(0, 1), slice(0, 1), [1])
    second = part(slice(1, 3), slice(1, 7), [2, 4])

    assert_close(loss.combine(add_penalties([first, second])), value(loss, case))


def test_weights_change_where_their_schedule_says(case):
    loss = EnergyForcesStressLoss(
        {"energy": LossTerm(((0, 1.0), (5, 10.0))), "forces": constant(0.0)}
    )

    assert loss.outputs == {"energy"}
    assert_close(value(loss, case, 5), 10 * value(loss, case, 4))
    assert_close(value(loss, case, math.inf), 10 * value(loss, case, 0))


def test_gradients_are_finite_for_crystals_beside_molecules():
    """A molecule has no stress, and must not spoil the gradients of the crystal."""
    graphs = [build_graph(a, 4.0) for a in (bulk("Si"), molecule("H2O"))]
    potential = random_potential(elements=(1, 8, 14), num_layers=1).train()
    graph = collate(graphs)
    labels = Labels(
        torch.zeros(2, dtype=torch.float64),
        torch.zeros(5, 3, dtype=torch.float64),
        torch.zeros(2, 3, 3, dtype=torch.float64),
    )
    labels.stress[1] = NAN
    loss = EnergyForcesStressLoss({"stress": constant(1.0)})

    penalties = loss.penalties(potential(graph, loss.outputs), graph, labels)
    loss.combine(penalties).backward()

    gradients = [p.grad for p in potential.parameters() if p.grad is not None]
    assert penalties["stress"].count == 9
    assert all(torch.isfinite(g).all() for g in gradients)
    assert any((g != 0).any() for g in gradients)


def test_mistakes_are_named(case):
    prediction, graph, labels = case
    loss = EnergyForcesStressLoss({"forces": constant(1.0)})

    with pytest.raises(ValueError, match="needs forces, which was not predicted"):
        loss.penalties(
            Prediction(prediction.energy, prediction.energies), graph, labels
        )
    with pytest.raises(ValueError, match="no term with a positive weight"):
        EnergyForcesStressLoss({"forces": constant(0.0)})
    with pytest.raises(ValueError, match="weights must start at epoch 0"):
        LossTerm(((1, 1.0),))


ALL = {"energy": constant(2.0), "forces": constant(3.0), "stress": constant(5.0)}


def test_weights_multiply_the_penalties_of_a_structure(case):
    prediction, graph, labels = case
    weights = torch.tensor([[2.0, 3, 4, 1], [1, 1, 1, 1], [0.5, 0.25, 0, 1]]).double()
    atoms = torch.tensor([1.0, 2.0, 4.0])
    of_atoms = weights[:, 1].repeat_interleave(atoms.long())[:, None]

    found = value(
        EnergyForcesStressLoss(ALL),
        (prediction, graph, replace(labels, weights=weights)),
    )

    squares = ((prediction.stress - labels.stress) ** 2).sum(dim=(1, 2))
    expected = (
        2 * (weights[:, 0] * ((prediction.energy - labels.energy) / atoms) ** 2).mean()
        + 3 * (of_atoms * (prediction.forces - labels.forces) ** 2).mean()
        # the third structure does not count
        + 5 * (weights[:2, 2] * squares[:2]).sum() / 18
    )
    assert_close(found, expected, rtol=1e-14, atol=0)


def test_weights_of_one_change_nothing(case):
    prediction, graph, labels = case
    loss = EnergyForcesStressLoss(ALL)
    ones = replace(labels, weights=torch.ones(3, 4, dtype=torch.float64))

    assert value(loss, (prediction, graph, ones)) == value(loss, case)


def test_atoms_without_a_force_count_nowhere(case):
    prediction, graph, labels = case
    forces = labels.forces.clone()
    forces[[1, 4]] = NAN
    loss = EnergyForcesStressLoss({"forces": constant(1.0)})
    predicted = prediction.forces.clone().requires_grad_()
    masked = (
        replace(prediction, forces=predicted),
        graph,
        replace(labels, forces=forces),
    )

    found = value(loss, masked)
    found.backward()

    kept = [0, 2, 3, 5, 6]
    expected = ((predicted.detach() - labels.forces)[kept] ** 2).mean()
    assert_close(found.detach(), expected, rtol=1e-14, atol=0)
    assert predicted.grad[[1, 4]].abs().max() == 0
    assert predicted.grad[kept].abs().min() > 0


def test_force_errors_of_elements_have_factors(case):
    prediction, graph, labels = case
    numbers = torch.tensor([1, 8, 1, 6, 1, 8, 6])
    graph = replace(graph, atomic_numbers=numbers)
    term = replace(constant(1.0), elements=((1, 0.5), (8, 0.0)))

    found = value(EnergyForcesStressLoss({"forces": term}), (prediction, graph, labels))

    squares = ((prediction.forces - labels.forces) ** 2).sum(dim=1)
    expected = (0.5 * squares[numbers == 1].sum() + squares[numbers == 6].sum()) / 15
    assert_close(found, expected, rtol=1e-14, atol=0)
