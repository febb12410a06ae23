"""The report holds the numbers that it should, is complete in itself, and safe."""

import re
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

from equipot.report.evaluation_page import model_name, render_report, write_report
from equipot.report.quantities import QUANTITIES
from tests.report.labeled import about, evaluated, labeled, mixed, silicon, water

VOID = {"meta", "br", "img", "link", "input", "hr"}
HISTORY = [
    {"epoch": 1.0, "train_loss": 3.0, "valid_loss": 4.0, "valid_forces_mae": 90.0},
    {"epoch": 2.0, "train_loss": 2.0, "valid_loss": 3.0, "valid_forces_mae": 70.0},
]


class Page(HTMLParser):
    """Elements, text and tables of a document."""

    def __init__(self, document):
        super().__init__()
        self.open, self.tags, self.attributes = [], Counter(), []
        self.tables, self.text = {}, ""
        self.feed(document)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.caption, self.rows = "", []
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"th", "td"}:
            self.rows[-1].append("")
        elif tag == "data":
            self.value = dict(attrs)["value"]

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self.caption] = self.rows

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text += data
        if "caption" in self.open:
            self.caption += data
        elif self.open and {"th", "td"} & set(self.open):
            number = self.open[-1] == "data"
            self.rows[-1][-1] += self.value if number else data


def page_of(examples, history=(), **changes):
    return Page(render_report(evaluated(examples), about(**changes), history))


@pytest.fixture(scope="module")
def evaluation():
    return evaluated(mixed())


@pytest.fixture(scope="module")
def document(evaluation):
    return render_report(evaluation, about(), HISTORY)


@pytest.fixture(scope="module")
def page(document):
    return Page(document)


def test_the_table_holds_the_errors_in_full(evaluation, page):
    rows = page.tables["Errors over all labels"]

    columns = {name: n for n, name in enumerate(rows[0])}
    for row, quantity in zip(rows[1:], QUANTITIES, strict=True):
        errors = evaluation.metrics[quantity.key]["overall"]
        for column, key in (("MAE", "mae"), ("RMSE", "rmse"), ("Label std", "std")):
            expected = quantity.error_scale * errors[key]
            assert float(row[columns[column]]) == pytest.approx(expected, rel=1e-12)
        own = quantity.error_per_label * quantity.values(evaluation).error
        assert float(row[columns["Maximum"]]) == np.abs(own).max()
        assert float(row[columns["Bias"]]) == own.mean()
        assert int(row[columns["Labels"]]) == errors["count"]


def test_largest_energy_error_is_in_mev_per_atom(evaluation, page):
    rows = page.tables["Errors over all labels"]

    atoms = np.array([3, 3, 3, 3, 8, 8, 8])
    expected = 1000 * np.abs(evaluation.energy.error / atoms).max()
    assert float(rows[1][rows[0].index("Maximum")]) == pytest.approx(expected, rel=1e-9)


def test_stress_is_in_gpa(evaluation, page):
    rows = page.tables["Errors over all labels"]

    assert rows[3][:2] == ["Stress", "GPa"]
    error = evaluation.stress.error[4:]
    assert float(rows[3][3]) == pytest.approx(160.21766208 * np.abs(error).mean())


def test_groups_hold_their_errors(evaluation, page):
    tables = page.tables

    by_type = {row[0]: row for row in tables["Errors by config type"]}
    expected = evaluation.metrics["forces"]["per_config_type"]["water"]["rmse"]
    assert float(by_type["water"][6]) == expected
    assert by_type["water"][8:] == ["–", "–", "–"]
    by_element = {row[0]: row for row in tables["Force errors by element, in meV/Å"]}
    expected = evaluation.metrics["forces"]["per_element"]["Si"]["mae"]
    assert float(by_element["Si"][2]) == expected
    assert {row[0] for row in tables["Errors by file"]} >= {"a.xyz", "b.xyz"}


def test_worst_structures_come_first(evaluation, page):
    rows = page.tables["Structures with the largest errors"]

    largest = evaluation.largest_force_error
    first = evaluation.short_source[int(np.argmax(largest))]
    assert rows[1][0].startswith(first)
    assert rows[1][4].startswith(repr(1000 * float(largest.max())))


def test_the_page_needs_nothing_else(document, page):
    for _, attributes in page.attributes:
        for name in ("src", "href", "xlink:href", "action", "srcset", "poster"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/png;base64,"))
        assert re.findall(r"url\((?!#)", attributes.get("style") or "") == []
    assert "http" not in document
    assert "@import" not in document
    assert len(document) < 3e6


def test_identifiers_are_unique_and_references_resolve(page):
    ids = Counter(a["id"] for _, a in page.attributes if "id" in a)
    used = {
        reference
        for _, attributes in page.attributes
        for value in attributes.values()
        for reference in re.findall(r"url\(#([^)]*)\)", value or "")
    }
    used |= {
        a["xlink:href"][1:]
        for _, a in page.attributes
        if (a.get("xlink:href") or "").startswith("#")
    }

    assert {name for name, count in ids.items() if count > 1} == set()
    assert used <= set(ids)


def test_those_who_see_nothing_are_told(page):
    heads = [a for tag, a in page.attributes if tag == "th"]
    assert all("scope" in a for a in heads)
    assert page.tags["table"] == page.tags["caption"]
    images = [a for _, a in page.attributes if a.get("role") == "img"]
    pictures = [a for _, a in page.attributes if a.get("class") == "structure"]
    assert len(images) == page.tags["figure"] + len(pictures)
    assert all(a["aria-label"] for a in images)


EVIL = '<script>alert("1")</script>'


def test_text_from_files_is_never_markup():
    examples = [
        labeled(water(n), config_type=f"{EVIL}{n}", source=f'"><img src=x>{n}.xyz#0')
        for n in range(2)
    ]
    header = {**about().header, "model": {"cutoff": EVIL}, "sha256": EVIL}

    page = page_of(
        examples,
        model=f"{EVIL}.safetensors",
        header=header,
        data={EVIL: EVIL},
        environment={EVIL: EVIL},
        notes=(EVIL,),
    )

    assert page.tags["script"] == 1
    assert page.tags["img"] == 0
    assert page.text.count(EVIL) > 8


@pytest.mark.parametrize("labels", [("energy",), ("energy", "forces"), ("forces",)])
def test_absent_labels_are_said_to_be_absent(labels):
    page = page_of(mixed(labels))

    shown = [row[0] for row in page.tables["Errors over all labels"][1:]]
    assert shown == [q.title for q in QUANTITIES if q.key in labels]
    absent = [q.key for q in QUANTITIES if q.key not in labels]
    assert f"No structure has a label for {' or '.join(absent)}" in page.text


def test_a_report_without_any_label():
    page = page_of(mixed(()))

    assert "The data have no labels" in page.text
    assert "The data have no labels." in page.text
    assert page.tags["figure"] == 0


def test_a_single_structure_of_one_element():
    page = page_of([labeled(silicon())])

    assert "Only one structure was evaluated" in page.text
    assert "all labels are equal" in page.text


def test_a_single_atom_without_neighbors():
    alone = water()[:1]

    page = page_of([labeled(alone), labeled(alone, source="test.xyz#1")])

    assert re.search(r"\bnan\b", page.text, re.IGNORECASE) is None


def test_labels_that_are_absent_here_and_there():
    examples = [
        labeled(water(0), ("energy",), source="a#0"),
        labeled(water(1), ("forces",), source="a#1"),
        labeled(silicon(), (), source="a#2"),
    ]

    page = page_of(examples)

    rows = page.tables["Errors over all labels"]
    assert [row[2] for row in rows[1:]] == ["1", "9"]


def test_perfect_predictions():
    evaluation = evaluated(mixed())
    for compared in (evaluation.energy, evaluation.forces, evaluation.stress):
        compared.predicted[:] = compared.reference

    document = render_report(evaluation, about())

    assert "NaN" not in Page(document).text


def test_many_points_are_drawn_as_a_density():
    examples = [labeled(silicon(n), source=f"a#{n}") for n in range(90)]
    evaluation = evaluated(examples)

    document = render_report(evaluation, about())

    assert "data:image/png;base64," in document
    assert len(document) < 1e6


def test_learning_curves_appear_with_a_history(page):
    without = page_of([labeled(water(), ("energy",))])

    assert "Learning curves" not in without.text
    assert "Learning curves" in page.text
    assert "validation MAE 70.0 meV/" in page.text


def test_structures_closer_than_training_are_reported():
    header = about().header
    header["statistics"]["minimum_distances"] = {"H-O": 2.0, "Si-Si": 0.1}

    page = page_of(mixed(), header=header)

    assert "In 4 of 7 structures, two atoms are closer" in page.text
    assert "Pairs of elements that are no neighbors in training: H-H." in page.text
    states = {row[0]: row[3] for row in page.tables[DISTANCES]}
    assert states["H-O"].endswith("% shorter")
    assert states["H-H"] == "new pair"
    assert states["Si-Si"] == "within"


DISTANCES = "Shortest distance of each pair of elements, in Å"


def test_the_same_evaluation_gives_the_same_file(tmp_path, evaluation, document):
    path = tmp_path / "new" / "report.html"

    write_report(path, evaluation, about(), HISTORY)

    assert path.read_text(encoding="utf-8") == document


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/a/model.safetensors", "a"),
        ("water.safetensors", "water"),
        ("model.safetensors", "model"),
    ],
)
def test_models_are_called_by_their_run(path, name):
    assert model_name(path) == name
