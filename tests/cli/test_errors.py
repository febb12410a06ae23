"""Expected errors are one message and exit status 1; defects keep their traceback."""

import warnings

import pytest
import typer
from typer.testing import CliRunner

from equipot.cli.errors import explain_errors

app = typer.Typer()


@app.command()
@explain_errors
def fail(kind: str) -> None:
    """Raise an error of the given kind."""
    raise {"value": ValueError, "file": FileNotFoundError, "defect": KeyError}[kind](
        "cutoff must be positive"
    )


@app.command()
@explain_errors
def warn() -> None:
    """Warn, in two lines of text."""
    warnings.warn("atoms are\n  too close", stacklevel=1)


@pytest.fixture(autouse=True)
def no_debugging(monkeypatch):
    monkeypatch.delenv("EQUIPOT_DEBUG", raising=False)


@pytest.mark.parametrize("kind", ["value", "file"])
def test_expected_error_is_one_message(kind):
    result = CliRunner().invoke(app, ["fail", kind])

    assert result.exit_code == 1
    assert result.stderr == "error: cutoff must be positive\n"


def test_debugging_adds_the_traceback(monkeypatch):
    monkeypatch.setenv("EQUIPOT_DEBUG", "1")

    result = CliRunner().invoke(app, ["fail", "value"])

    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_defect_is_not_hidden():
    result = CliRunner().invoke(app, ["fail", "defect"])

    assert isinstance(result.exception, KeyError)


@pytest.mark.filterwarnings("default")
def test_warning_is_one_line_without_source():
    result = CliRunner().invoke(app, ["warn"])

    assert result.exit_code == 0
    assert result.stderr == "warning: atoms are too close\n"


@pytest.mark.filterwarnings("default")
def test_debugging_shows_where_a_warning_comes_from(monkeypatch):
    monkeypatch.setenv("EQUIPOT_DEBUG", "1")

    with pytest.warns(UserWarning, match="too close"):
        CliRunner().invoke(app, ["warn"])
