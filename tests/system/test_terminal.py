"""What is printed fits the terminal, and words stay whole."""

import io

import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from equipot.cli.main import app
from equipot.report.console import _tables
from equipot.system.terminal import Fitted, in_columns, plain
from equipot.training.summary import error_table
from tests.report.labeled import evaluated, labeled, silicon

WIDTHS = (60, 80, 100)
OVERALL = {"mae": 1234.5678, "rmse": 2345.678, "std": 34567.89, "explained": 0.98765}


def printed(item, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(item)
    return console.file.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_table_of_errors_breaks_no_word(width):
    errors = {**OVERALL, "count": 123456, "unit": "meV/atom"}
    sets = {
        name: {q: {"overall": errors} for q in ("energy", "forces", "stress")}
        for name in ("valid", "a_long_name_of_a_set_of_structures_at_600K")
    }

    text = printed(Fitted(error_table(sets)), width)

    assert max(map(len, text.splitlines())) <= width
    for word in (*sets, "energy", "meV/atom", "R²", "1235", "123456"):
        assert word in text


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("named", ["bulk", "surface_slab_with_adsorbates_600K"])
def test_groups_of_many_quantities_stay_readable(width, named):
    groups = [f"{named}_{n}" for n in range(3)]
    evaluation = evaluated(
        [
            labeled(silicon(n), config_type=group, source=f"a.xyz#{n}")
            for n, group in enumerate(groups)
        ]
    )

    text = "".join(printed(table, width) for table in _tables(evaluation))

    assert max(map(len, text.splitlines())) <= width
    for word in (*groups, "R²", "std", "RMSE"):
        assert word in text
    assert all(len(line.split()) > 0 for line in text.splitlines() if line.strip())


def test_a_table_that_does_not_fit_becomes_a_list_of_its_rows():
    table = Table(title="errors", caption="in meV")
    for name in ("set", "mean\nabsolute", "root"):
        table.add_column(name, no_wrap=True)
    table.add_row("validation", "1", "2")

    narrow = printed(Fitted(table), 20)

    assert [line.rstrip() for line in narrow.splitlines()] == [
        "errors",
        "validation",
        "  mean absolute  1",
        "  root           2",
        "in meV",
    ]
    assert printed(Fitted(table), 80) == printed(table, 80)


def test_names_and_texts_never_touch():
    lines = [("cuequivariance-torch", "not installed"), ("a", "word " * 30)]

    wide = list(in_columns(lines, 60))
    narrow = list(in_columns(lines, 30))

    assert wide[0] == "  cuequivariance-torch  not installed"
    assert max(map(len, wide)) <= 60
    assert max(map(len, narrow)) <= 30
    assert "  cuequivariance-torch" in narrow


def test_marks_of_docstrings_are_not_shown():
    assert plain("per :math:`|m|`, ops of ``cuda_ext/``, `x`") == (
        "per |m|, ops of cuda_ext/, x"
    )


@pytest.mark.parametrize("width", WIDTHS)
def test_doctor_and_help_show_no_marks_and_fit(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    names = [c.name or c.callback.__name__ for c in app.registered_commands]
    for command in (["doctor"], *([name, "--help"] for name in names)):
        text = CliRunner().invoke(app, command).output
        assert ":math:" not in text
        assert "``" not in text
        lines = [x for x in text.splitlines() if max(map(len, x.split() or [x])) < 30]
        assert max(map(len, lines)) <= width
