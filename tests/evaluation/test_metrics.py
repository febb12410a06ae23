import json

import pytest
import torch
from torch.testing import assert_close

from equipot.data.labels import Labels
from equipot.evaluation.metrics import ErrorAccumulator
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.prediction import Prediction

NAN = float("nan")


def batch(numbers: list[list[int]]) -> AtomicGraph:
    """Structures without edges."""
    z = torch.tensor([n for structure in numbers for n in structure])
    index = [i for i, structure in enumerate(numbers) for _ in structure]
    return AtomicGraph(
        positions=torch.zeros(len(z), 3, dtype=torch.float64),
        atomic_numbers=z,
        cell=torch.zeros(len(numbers), 3, 3, dtype=torch.float64),
        pbc=torch.zeros(len(numbers), 3, dtype=torch.bool),
        batch=torch.tensor(index),
        edge_index=torch.zeros(2, 0, dtype=torch.long),
        edge_shift=torch.zeros(0, 3, dtype=torch.long),
        cutoff=5.0,
    )


def random_case(numbers, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    graph = batch(numbers)
    labels = Labels(
        normal(graph.num_graphs),
        normal(graph.num_atoms, 3),
        normal(graph.num_graphs, 3, 3),
    )
    prediction = Prediction(
        energy=labels.energy + 0.1 * normal(graph.num_graphs),
        energies=normal(graph.num_atoms),
        forces=labels.forces + 0.1 * normal(graph.num_atoms, 3),
        stress=labels.stress + 0.1 * normal(graph.num_graphs, 3, 3),
    )
    return prediction, graph, labels


def test_errors_are_those_of_the_definition():
    prediction, graph, labels = random_case([[1, 1, 8], [8], [6, 1]])
    accumulator = ErrorAccumulator()

    accumulator.update(prediction, graph, labels, ["a", "b", "a"])
    errors = accumulator.compute()

    atoms = torch.tensor([3.0, 1.0, 2.0])
    energy = 1e3 * (prediction.energy - labels.energy) / atoms
    spread = 1e3 * (labels.energy / atoms).std(correction=0)
    assert errors["energy"]["overall"]["mae"] == pytest.approx(energy.abs().mean())
    assert errors["energy"]["overall"]["std"] == pytest.approx(spread)
    force = 1e3 * (prediction.forces - labels.forces)[graph.atomic_numbers == 8]
    oxygen = errors["forces"]["per_element"]["O"]
    assert oxygen["rmse"] == pytest.approx((force**2).mean().sqrt())
    assert oxygen["count"] == 6
    stress = 1e3 * (prediction.stress - labels.stress)[[0, 2]]
    group = errors["stress"]["per_config_type"]["a"]
    assert group["mae"] == pytest.approx(stress.abs().mean())
    assert group["unit"] == "meV/Å^3"


def test_batching_does_not_matter():
    cases = [random_case([[1, 8], [8, 8, 6]], seed) for seed in range(3)]
    together, apart = ErrorAccumulator(), ErrorAccumulator()

    for case in cases:
        together.update(*case, ["a", "b"])
    for case in reversed(cases):
        other = ErrorAccumulator()
        other.load_state(json.loads(json.dumps(apart.state())))
        apart = other
        apart.update(*case, ["a", "b"])

    for name in ("energy", "forces", "stress"):
        expected = together.compute()[name]["overall"]
        for key in ("count", "mae", "rmse", "std", "explained"):
            assert apart.compute()[name]["overall"][key] == pytest.approx(
                expected[key], rel=1e-12
            )


def test_perfect_prediction_explains_everything_and_the_mean_nothing():
    _, graph, labels = random_case([[1, 8], [8, 8]])
    perfect, mean = ErrorAccumulator(), ErrorAccumulator()

    perfect.update(
        Prediction(labels.energy, torch.zeros(4).double(), labels.forces),
        graph,
        labels,
        ["a"] * 2,
    )
    forces = labels.forces.mean().expand(4, 3)
    mean.update(
        Prediction(labels.energy, torch.zeros(4).double(), forces),
        graph,
        labels,
        ["a"] * 2,
    )

    assert perfect.compute()["forces"]["overall"]["explained"] == 1
    assert mean.compute()["forces"]["overall"]["explained"] == pytest.approx(0)


def test_absent_labels_do_not_count():
    prediction, graph, labels = random_case([[1, 8], [8]])
    labels.energy[0] = NAN
    labels.forces[0, 1] = NAN
    labels.stress[:] = NAN
    accumulator = ErrorAccumulator()

    accumulator.update(prediction, graph, labels, ["a", "b"])
    errors = accumulator.compute()

    assert errors["energy"]["overall"]["count"] == 1
    assert list(errors["energy"]["per_config_type"]) == ["b"]
    assert errors["forces"]["overall"]["count"] == 8
    assert "stress" not in errors
    assert "NaN" not in json.dumps(errors)


def test_reference_energies_remove_the_spread_of_compositions():
    graph = batch([[1, 1], [8], [1, 8, 8]])
    references = {1: -13.0, 8: -2000.0}
    energy = torch.tensor([-26.0, -2000.0, -4013.0], dtype=torch.float64)
    absent = torch.full((6, 3), NAN, dtype=torch.float64)
    labels = Labels(energy, absent, absent.new_full((3, 3, 3), NAN))
    prediction = Prediction(energy + 0.001, torch.zeros(6, dtype=torch.float64))
    raw, relative = ErrorAccumulator(), ErrorAccumulator(references)

    raw.update(prediction, graph, labels, ["a"] * 3)
    relative.update(prediction, graph, labels, ["a"] * 3)

    assert raw.compute()["energy"]["overall"]["std"] > 1e5
    assert relative.compute()["energy"]["overall"]["std"] < 1e-6
    assert_close(
        relative.compute()["energy"]["overall"]["mae"],
        raw.compute()["energy"]["overall"]["mae"],
    )


def test_wrong_number_of_groups_is_refused():
    with pytest.raises(ValueError, match="one config_type for each of 2 structures"):
        ErrorAccumulator().update(*random_case([[1], [8]]), ["a"])
