"""One command trains a committee."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from equipot.calculators import EquipotCalculator
from equipot.checkpoint.file import read_header
from equipot.cli.main import app
from equipot.cli.models import model_files
from equipot.config.load import load_config
from equipot.config.train import TrainConfig
from equipot.training.members import member_config


@pytest.fixture
def train(write_config, config_tree, tmp_path, monkeypatch):
    monkeypatch.delenv("EQUIPOT_DEBUG", raising=False)
    config_tree["training"]["epochs"] = 1
    config_tree["data"]["valid"] = 3

    def run(*arguments):
        command = ["train", str(write_config()), "--output", str(tmp_path / "c")]
        result = CliRunner().invoke(app, [*command, *arguments])
        return result, " ".join(result.output.split())

    return run


def test_members_are_runs_that_differ_in_their_seed_alone(train, tmp_path):
    result, text = train("--members", "2")

    assert result.exit_code == 0, result.output
    models = [tmp_path / "c" / f"member_{n}" / "model.safetensors" for n in (1, 2)]
    headers = [read_header(model) for model in models]
    assert [h["provenance"]["seed"] for h in headers] == [3, 4]
    configs = [h["provenance"]["config"] for h in headers]
    for config in configs:
        config.pop("seed")
    assert configs[0] == configs[1]
    assert headers[0]["sha256"] != headers[1]["sha256"]
    assert "pass the list to EquipotCalculator" in text
    assert all(str(model) in text.replace(" ", "") for model in models)
    assert model_files(tmp_path / "c") == models
    EquipotCalculator([str(model) for model in models], device="cpu")

    again, told = train("--members", "2")
    assert again.exit_code == 1
    assert "already contains members; add --resume" in told


def test_a_committee_is_resumed_and_enlarged(train, tmp_path):
    train("--members", "2")
    metrics = tmp_path / "c" / "member_1" / "metrics.json"
    before = metrics.read_bytes()

    result, _ = train("--members", "3", "--resume")

    assert result.exit_code == 0, result.output
    assert json.loads(metrics.read_bytes()) == json.loads(before)
    assert (tmp_path / "c" / "member_3" / "model.safetensors").is_file()


def test_there_must_be_a_committee_to_resume(train):
    result, text = train("--members", "2", "--resume")

    assert result.exit_code == 1
    assert "there is no committee" in text


def test_the_first_member_is_the_run_without_a_committee(write_config):
    config = load_config(write_config(), ["data.split_seed=7"], TrainConfig)

    assert member_config(config, 0) == config
    assert member_config(config, 2).seed == config.seed + 2
    assert member_config(config, 2).data == config.data


def test_the_package_is_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "equipot", "train", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "equipot train" in done.stdout
    assert "--members" in done.stdout
