"""Numbers, sentences, pictures and learning curves of a report."""

from dataclasses import replace

import numpy as np
import pytest
from markupsafe import Markup
from numpy.testing import assert_allclose

from equipot.report.domain import closeness, unseen_pairs
from equipot.report.findings import verdict, warnings
from equipot.report.history import curve, read_history
from equipot.report.parts.numbers import r_squared, shown, typeset
from equipot.report.parts.page import Table, cell, full
from equipot.report.parts.picture import MOST_ATOMS, picture
from equipot.report.worst import worst_structures
from tests.report.labeled import evaluated, labeled, mixed, silicon, water


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.012345, "0.0123"),
        (0.9996, "1.00"),
        (1.2345, "1.23"),
        (-12.345, "−12.3"),
        (123.45, "123"),
        (999.6, "1000"),
        (12345.6, "12\N{NARROW NO-BREAK SPACE}346"),
        (1.5e-7, "1.5e−7"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert shown(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (-2.0, "−2.000"),
        (-50.0, "−50"),
        (0.5, "0.500"),
        (0.99, "0.9900"),
        (0.99989, "0.9998"),
        (0.999999, "> 0.9999"),
        (1.0, "1"),
    ],
)
def test_r_squared_does_not_round_up_to_one(value, text):
    assert r_squared(value) == text


@pytest.mark.parametrize(
    ("plain", "text"),
    [
        (
            "cell of C8O16: 8 formula units of CO2",
            "cell of C₈O₁₆: 8 formula units of CO₂",
        ),
        ("V0 339.95 Å^3, E0 -2514.8 eV", "V0 339.95 Å³, E0 −2514.8 eV"),
        ("runs/CO2/CO2.xyz and CO2_2.xyz", "runs/CO2/CO2.xyz and CO2_2.xyz"),
        ("H-H 1.5 Å, 1e-5 eV/Å^3, 2026-11-29", "H-H 1.5 Å, 1e-5 eV/Å³, 2026-11-29"),
        ("NVE at 300K of X2 and frame.xyz@-1", "NVE at 300K of X2 and frame.xyz@-1"),
    ],
)
def test_formulas_units_and_signs_are_typeset(plain, text):
    assert typeset(plain) == text


@pytest.mark.parametrize(
    ("value", "element"),
    [
        ("a < b", "a &lt; b"),
        (Markup("<b>c</b>"), "<b>c</b>"),
        (3, '<data value="3">3</data>'),
        (np.float64(0.12345), '<data value="0.12345">0.123</data>'),
        (None, '<span class="absent" title="no value">–</span>'),
        (float("nan"), '<span class="absent" title="no value">–</span>'),
    ],
)
def test_cells_hold_escaped_text_and_whole_numbers(value, element):
    assert cell(value) == element
    assert cell(cell(value)) == element


def test_the_text_of_a_number_is_escaped():
    assert full("<1", 0.5) == '<data value="0.5">&lt;1</data>'


def test_a_table_refuses_ragged_rows():
    with pytest.raises(ValueError, match="rows of 2 cells"):
        Table("caption", ("a", "b"), [("1", "2"), ("3",)])


def test_the_verdict_admits_that_the_mean_is_better():
    text = verdict(evaluated(mixed()))

    assert text.startswith("Force RMSE")
    assert "the mean label would be a better prediction" in text


def test_the_summary_states_r_squared_and_the_standard_deviation_of_labels():
    evaluation = evaluated(mixed(("forces",)))
    overall = evaluation.metrics["forces"]["overall"]
    overall |= {"rmse": 10.0, "std": 1000.0, "explained": 0.9999}

    text = verdict(evaluation)

    assert "Force RMSE 10.0 meV/Å, R² > 0.9999; standard deviation of the" in text
    assert "labels 1000 meV/Å." in text


@pytest.mark.parametrize(("offset", "told"), [(2.0, True), (0.0, False)])
def test_an_offset_of_all_energies_is_told_from_errors(offset, told):
    """Labels of another method differ by one energy per atom, not at random."""
    result = evaluated([labeled(water(n), source=f"a.xyz#{n}") for n in range(8)])
    noise = np.random.default_rng(0).normal(0, 0.01, 8)
    shifted = result.energy.predicted - 3 * (offset + noise)
    result = replace(result, energy=replace(result.energy, reference=shifted))

    found = [w for w in warnings(result, {}) if "zero of energy" in w]

    assert bool(found) is told
    if told:
        assert "All energies have a common error of about 2" in found[0]


def test_closeness_is_the_smallest_ratio_to_training():
    closest = [{"H-O": 0.8, "H-H": 1.6}, {"H-O": 1.2}, {}]
    limits = {"H-O": 1.0, "H-H": 1.5}

    assert_allclose(closeness(closest, limits), [0.8, 1.2, np.nan])
    assert unseen_pairs(closest, {"H-O": 1.0}) == ("H-H",)


def test_the_worst_are_ordered_and_half_of_few_is_fewer():
    evaluation = evaluated(mixed())

    chosen = worst_structures(evaluation, most=4)

    by_force = np.argsort(-evaluation.largest_force_error)
    assert chosen[:3] == by_force[:3].tolist()
    assert len(chosen) in {3, 4}
    assert len(worst_structures(evaluation, most=100)) == 7


def test_without_forces_the_worst_are_those_of_energy():
    evaluation = evaluated(mixed(("energy",)))

    chosen = worst_structures(evaluation, most=3)

    error = np.abs(evaluation.energy_per_atom.error)
    assert chosen == np.argsort(-error)[:3].tolist()


def _picture(atoms, **options):
    return picture(
        "p", atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, **options
    )


def test_a_picture_has_a_ball_per_atom_and_marks_one():
    svg = _picture(water(), marked=1, caption="<water>")

    assert svg.count("<title>") == 3
    assert svg.count('class="bond"') == 2
    assert svg.count("worst-atom") == 1
    assert "&lt;water&gt;" in svg


def test_a_picture_shows_the_cell_of_a_crystal():
    assert _picture(silicon()).count('class="cell"') == 12
    assert _picture(water()).count('class="cell"') == 0


def test_of_a_large_structure_the_surroundings_of_the_marked_atom_are_drawn():
    atoms = silicon().repeat(4)

    svg = _picture(atoms, marked=len(atoms) - 1)

    assert len(atoms) > MOST_ATOMS
    assert svg.count("<title>") == MOST_ATOMS
    assert svg.count("worst-atom") == 1


def test_a_flat_or_single_picture_is_finite():
    for atoms in (water()[:1], water()[:2]):
        assert "nan" not in _picture(atoms)


def test_history_is_read_from_the_log_beside_the_model(tmp_path):
    log = tmp_path / "metrics.csv"
    log.write_text("epoch,train_loss,valid_loss\n1,3.0,\n2,2.0,2.5\n")

    rows = read_history(tmp_path / "model.safetensors", {})

    assert rows[0] == {"epoch": 1.0, "train_loss": 3.0}
    epochs, values = curve(rows, "valid_loss")
    assert epochs.tolist() == [2.0]
    assert values.tolist() == [2.5]
    assert curve(rows, "valid_energy_mae") is None


def test_history_in_the_header_comes_first(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,train_loss\n1,3.0\n")
    header = {"training": {"history": [{"epoch": 7, "train_loss": 1.0}]}}

    rows = read_history(tmp_path / "model.safetensors", header)

    assert rows == [{"epoch": 7.0, "train_loss": 1.0}]


def test_a_model_may_have_no_history(tmp_path):
    assert read_history(tmp_path / "model.safetensors", {}) == []


def test_a_broken_log_is_named(tmp_path):
    (tmp_path / "metrics.csv").write_text("epoch,train_loss\n1,many\n")

    with pytest.raises(ValueError, match=r"metrics\.csv is not a table of numbers"):
        read_history(tmp_path / "model.safetensors", {})


def test_closest_pairs_are_collected_per_structure():
    evaluation = evaluated([labeled(water()), labeled(silicon(), source="b#0")])

    assert set(evaluation.closest[0]) == {"H-O", "H-H"}
    assert set(evaluation.closest[1]) == {"Si-Si"}
