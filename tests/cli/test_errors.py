"""Expected errors are one message and exit status 1; defects keep their traceback."""

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


@pytest.mark.parametrize("kind", ["value", "file"])
def test_expected_error_is_one_message(kind, monkeypatch):
    monkeypatch.delenv("EQUIPOT_DEBUG", raising=False)

    result = CliRunner().invoke(app, [kind])

    assert result.exit_code == 1
    assert result.stderr == "error: cutoff must be positive\n"


def test_debugging_adds_the_traceback(monkeypatch):
    monkeypatch.setenv("EQUIPOT_DEBUG", "1")

    result = CliRunner().invoke(app, ["value"])

    assert result.exit_code == 1
    assert "Traceback" in result.stderr


def test_defect_is_not_hidden():
    result = CliRunner().invoke(app, ["defect"])

    assert isinstance(result.exception, KeyError)
