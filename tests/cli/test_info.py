"""What `equipot info` and `equipot doctor` print."""

from typer.testing import CliRunner

from equipot.cli.info import describe
from equipot.cli.main import app


def test_plain_values_come_before_sections():
    header = {"model": {"cutoff": 5.0, "hidden": [64, 32]}, "version": 1}

    lines = list(describe(header))

    assert lines == ["version  1", "model", "  cutoff  5", "  hidden  64, 32"]


def test_long_lists_are_counted():
    assert list(describe({"history": list(range(50))})) == ["history  (50 entries)"]


def test_missing_model_is_one_message(tmp_path):
    result = CliRunner().invoke(app, ["info", str(tmp_path / "no.safetensors")])

    assert result.exit_code == 1
    assert result.stderr.startswith("error: no file")


def test_doctor_names_every_backend():
    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == 0
    for name in ("torch", "clebsch_gordan", "brute_force"):
        assert name in result.stdout
