"""Expected errors are one message and exit status 1; defects keep their traceback."""

import os
import subprocess
import sys
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


def test_the_end_of_a_pipe_is_no_error():
    """As in ``equipot --help | head -1``, with more output than a pipe buffers."""
    program = (
        "from equipot.cli.errors import explain_errors\n"
        "import typer\n"
        "@explain_errors\n"
        "def many():\n"
        "    for _ in range(100000): typer.echo('line')\n"
        "typer.run(many)\n"
    )
    command = f'{sys.executable} -c "$PROGRAM" | head -1'

    done = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "PROGRAM": program},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "line\n"
    assert done.stderr == ""
