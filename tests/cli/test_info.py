"""What `equipot info` and `equipot doctor` print."""

import json

import pytest
from typer.testing import CliRunner

from equipot.checkpoint.file import read_header, save_potential
from equipot.cli.info import describe
from equipot.cli.main import app
from equipot.config.model import NequIPConfig
from equipot.models import build_potential
from tests.potentials import statistics_of


@pytest.fixture
def path(tmp_path):
    config = NequIPConfig(
        cutoff=4.0, lmax=1, channels=4, num_layers=2, zbl=True, backend="clebsch_gordan"
    )
    statistics = statistics_of((8, 14), 4.0)
    path = tmp_path / "model.safetensors"
    extra = {"provenance": {"data": {"train.xyz": "0123456789abcdef" * 4}}}
    potential = build_potential(config, statistics)
    save_potential(path, potential, config, statistics, extra)
    return path


def test_info_tells_the_facts_of_a_model(path):
    result = CliRunner().invoke(app, ["info", str(path)])

    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "2 layers, 4 channels, lmax 1, cutoff 4 Å, O(3), float32, ZBL" in text
    assert "O -108.8000, Si -190.4000 eV, from given" in text
    assert "train.xyz 0123456789abcdef" in text


def test_info_tells_the_channels_of_each_degree(path):
    header = read_header(path)
    model = {**header["model"], "architecture": "nequix", "channels": [8, 4]}

    lines = dict(describe({**header, "model": model}))

    assert "nequix, 2 layers, 8+4 channels, lmax 1" in lines["architecture"]


def test_info_tells_errors_and_warnings(path):
    errors = {"energy": {"overall": {"rmse": 2.04, "unit": "meV/atom"}}}
    training = {"best_epoch": 7.0, "epochs": 9, "steps": 90, "errors": {"300K": errors}}
    header = read_header(path)
    header["statistics"]["warnings"] = ["the compositions determine 1 of 2"]

    lines = dict(describe({**header, "training": training}))

    assert lines["weights"] == "of epoch 7, lowest validation loss"
    assert lines["training"].endswith("; 90 steps")
    assert lines["RMSE, 300K"] == "energy 2.0 meV/atom"
    assert lines["warning"] == "the compositions determine 1 of 2"


def test_info_prints_the_whole_header_as_json(path):
    result = CliRunner().invoke(app, ["info", str(path), "--json"])

    assert json.loads(result.stdout) == read_header(path)


def test_missing_model_is_one_message(tmp_path):
    result = CliRunner().invoke(app, ["info", str(tmp_path / "no.safetensors")])

    assert result.exit_code == 1
    assert result.stderr.startswith("error: no such file")


def test_doctor_names_every_backend():
    result = CliRunner().invoke(app, ["doctor"])

    assert result.exit_code == 0
    for name in ("torch", "clebsch_gordan", "brute_force"):
        assert name in result.stdout
