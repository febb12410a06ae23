import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from equipot.data.labels import collate_examples
from equipot.evaluation.evaluate import evaluate
from equipot.evaluation.metrics import ErrorAccumulator
from tests.potentials import random_potential
from tests.report.labeled import (
    ALL,
    REFERENCES,
    evaluated,
    labeled,
    mixed,
    silicon,
    water,
)


def test_errors_are_those_that_training_computes():
    examples = mixed()
    potential = random_potential((1, 8, 14), num_layers=1, lmax=1)
    graph, labels = collate_examples(examples)
    accumulator = ErrorAccumulator(REFERENCES)
    types = [example.config_type for example in examples]
    accumulator.update(potential(graph), graph, labels, types)
    expected = accumulator.compute()

    metrics = evaluated(examples).metrics

    for name in ALL:
        for errors in ("mae", "rmse", "std", "explained", "count"):
            assert metrics[name]["overall"][errors] == pytest.approx(
                expected[name]["overall"][errors], rel=1e-12
            )
        assert metrics[name]["per_config_type"].keys() == (
            {"water", "silicon"} if name != "stress" else {"silicon"}
        )
        assert set(metrics[name]["per_file"]) <= {"data/a.xyz", "data/b.xyz"}


def test_batches_do_not_matter():
    one = evaluated(mixed(), max_edges=1)
    other = evaluated(mixed(), max_edges=10**6)

    assert_allclose(one.energy.predicted, other.energy.predicted, rtol=0, atol=1e-9)
    assert_allclose(one.forces.predicted, other.forces.predicted, rtol=0, atol=1e-12)
    assert_allclose(one.stress.predicted, other.stress.predicted, rtol=0, atol=1e-12)


def test_arrays_belong_to_their_structures():
    examples = mixed()
    potential = random_potential((1, 8, 14), num_layers=1, lmax=1)
    last, _ = collate_examples(examples[-1:])

    evaluation = evaluate(potential, examples, reference_energies=REFERENCES)

    rows = evaluation.atoms_of(len(examples) - 1)
    expected = potential(last)
    assert_allclose(evaluation.forces.predicted[rows], expected.forces, atol=1e-12)
    assert_allclose(evaluation.positions[rows], last.positions)
    assert_array_equal(evaluation.atomic_numbers[rows], last.atomic_numbers)
    assert evaluation.num_atoms.tolist() == [3, 3, 3, 3, 8, 8, 8]


def test_energies_are_shown_relative_to_reference_energies():
    evaluation = evaluated(mixed())

    shown = evaluation.energy_per_atom

    assert evaluation.baseline[0] == pytest.approx(2 * REFERENCES[1] + REFERENCES[8])
    assert 1e3 * shown.reference.std() == pytest.approx(
        evaluation.metrics["energy"]["overall"]["std"], rel=1e-9
    )
    assert 1e3 * np.abs(shown.error).mean() == pytest.approx(
        evaluation.metrics["energy"]["overall"]["mae"], rel=1e-9
    )


def test_absent_labels_have_no_errors():
    examples = [
        labeled(water(0), ("energy",), source="a#0"),
        labeled(water(1), source="a#1"),
    ]

    evaluation = evaluated(examples)

    assert evaluation.metrics["forces"]["overall"]["count"] == 9
    assert "stress" not in evaluation.metrics
    assert np.isnan(evaluation.largest_force_error).tolist() == [True, False]
    assert evaluation.largest_force_error[1] == pytest.approx(
        np.linalg.norm(evaluation.forces.error[3:], axis=1).max()
    )


def test_unknown_elements_name_the_structure():
    potential = random_potential((1, 6), num_layers=1, lmax=0)
    examples = [labeled(water(), source="test.xyz#12")]

    with pytest.raises(ValueError, match=r"test\.xyz#12 contains O; .* only H, C"):
        evaluate(potential, examples)


def test_no_structure_is_an_error():
    with pytest.raises(ValueError, match="no structures to evaluate"):
        evaluated([])


def test_a_prediction_that_is_not_a_number_names_the_structure():
    potential = random_potential((1, 8, 14), num_layers=1, lmax=0)
    with torch.no_grad():
        potential.backbone.embedding.weight[2] = torch.nan

    with pytest.raises(ValueError, match=r"prediction for b#0 is not finite"):
        evaluate(
            potential,
            [labeled(water(), source="a#0"), labeled(silicon(), source="b#0")],
        )


def test_a_label_for_the_stress_needs_a_volume():
    example = labeled(water(), source="a#7")
    example.labels.stress[:] = 0.1

    with pytest.raises(ValueError, match="a#7 has a stress label but no volume"):
        evaluated([example])


def test_shared_folders_are_left_out_of_short_sources():
    files = ["/data/x/a.xyz#0", "/data/y/b.xyz#1"]

    evaluation = evaluated([labeled(water(), source=source) for source in files])

    assert evaluation.short_source == ("x/a.xyz#0", "y/b.xyz#1")


def test_progress_counts_structures():
    done = []

    evaluated(mixed(), max_edges=1, on_progress=done.append)

    assert done == [1, 2, 3, 4, 5, 6, 7]
