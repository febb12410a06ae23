import pytest
from typer.testing import CliRunner

from equipot.cli.train import app


@pytest.fixture
def command(monkeypatch):
    """Runs train-potential and returns exit status and output."""
    monkeypatch.delenv("EQUIPOT_DEBUG", raising=False)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        return result.exit_code, result.output

    return run


def test_a_misspelt_override_is_one_message(command, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("data: {train: a.xyz}\n")

    status, output = command(config, "--set", "training.epoch=3")

    assert status == 1
    assert "training.epoch: unknown key; did you mean epochs?" in output
    assert "Traceback" not in output


def test_missing_data_are_named(command, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(f"data: {{root: {tmp_path}, train: nowhere.xyz}}\n")

    status, output = command(config, "--output", tmp_path / "run")

    assert status == 1
    assert "nowhere.xyz" in output
    assert command(config, "--output", tmp_path / "run") == (status, output)
