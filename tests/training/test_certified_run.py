"""The last step of training: the best model is verified, and stays as it is."""

import io
import json

import pytest
from rich.console import Console
from typer.testing import CliRunner

from equipot.checkpoint.file import read_header
from equipot.cli.train import app
from equipot.config.load import load_config
from equipot.config.train import TrainConfig
from equipot.training import finish
from equipot.training.run import run_training

SHORT = ("training.verify=true", "training.epochs=1")


@pytest.fixture
def train(tmp_path, write_config):
    """Runs one epoch and a verification; returns the result and what was printed."""

    def run(*overrides, name="run", resume=False):
        config = load_config(write_config(), [*SHORT, *overrides], TrainConfig)
        console = Console(file=io.StringIO(), width=200)
        result = run_training(config, tmp_path / name, resume=resume, console=console)
        return result, console.file.getvalue()

    return run


def written(directory):
    return json.loads(directory.certificate.read_text(encoding="utf-8"))


def test_a_run_ends_with_a_certificate_of_its_model(train):
    result, printed = train()

    found = written(result.directory)
    assert found["passed"]
    assert result.certificate.passed
    assert found["model_sha256"] == read_header(result.directory.best)["sha256"]
    assert found["environment"]["equipot"]
    assert found["environment"]["processor"]
    assert "stored in the model file" in found["structures"]
    (backend,) = found["backends"]
    assert backend["backend"] == "clebsch_gordan"
    assert f"verified by {result.certificate.count} checks on " in printed
    assert "all passed" in result.directory.log.read_text(encoding="utf-8")


def test_the_backend_of_the_run_is_compared_with_the_reference(train):
    result, _ = train("model.backend=so2")

    (backend,) = written(result.directory)["backends"]
    assert backend["backend"] == "so2"
    assert {check["name"] for check in backend["checks"]} >= {"clebsch_gordan"}


def test_a_failure_is_that_of_the_command_and_the_model_stays(
    write_config, tmp_path, monkeypatch
):
    config, folder = str(write_config()), tmp_path / "run"
    changes = [word for key in SHORT for word in ("--set", key)]

    with monkeypatch.context() as patch:
        # No pair may come closer than it is without gaining an eV: none does.
        patch.setattr("equipot.verify.dimers.HOLE_TOLERANCE", -1.0)
        failed = CliRunner().invoke(app, [config, "--output", str(folder), *changes])
    before = read_header(folder / "model.safetensors")["sha256"]
    record = json.loads((folder / "verification.json").read_text(encoding="utf-8"))

    assert failed.exit_code == 1
    assert "1 of them FAILED" in failed.output
    assert "potential: short-range attraction, pairs" in failed.output
    assert "the model failed a check of equipot verify" in failed.output
    assert not record["passed"]
    assert len(record["failures"]) == 1

    again = CliRunner().invoke(
        app, [config, "--output", str(folder), "--resume", *changes]
    )

    assert again.exit_code == 0, again.output
    assert read_header(folder / "model.safetensors")["sha256"] == before
    record = json.loads((folder / "verification.json").read_text(encoding="utf-8"))
    assert record["passed"]
    assert record["model_sha256"] == before


def test_a_run_that_was_killed_in_its_verification_does_it_again(train, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(finish, "verify_model", killed)
        with pytest.raises(KeyboardInterrupt):
            train()

    resumed, _ = train(resume=True)
    through, _ = train(name="through")

    hashes = [written(r.directory)["model_sha256"] for r in (resumed, through)]
    assert hashes[0] == hashes[1]
    assert hashes[0] == read_header(resumed.directory.best)["sha256"]


def test_a_run_can_go_without(train):
    result, printed = train("training.verify=false")

    assert result.certificate is None
    assert not result.directory.certificate.exists()
    assert "verified by" not in printed
