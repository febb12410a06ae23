"""`equipot evaluate` from files to tables, report, JSON and predictions."""

import json

import numpy as np
import pytest
from ase.io import read, write
from typer.testing import CliRunner

from equipot.checkpoint.file import save_potential
from equipot.cli.main import app
from equipot.config.model import NequIPConfig
from equipot.models import build_potential
from tests.potentials import statistics_of
from tests.report.labeled import CUTOFF, silicon, water

CONFIG = NequIPConfig(
    cutoff=CUTOFF,
    lmax=1,
    channels=4,
    num_layers=1,
    radial_hidden=(8,),
    readout_hidden=4,
    dtype="float64",
    backend="clebsch_gordan",
)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "water.safetensors"
    statistics = statistics_of((1, 8, 14), CUTOFF)
    save_potential(path, build_potential(CONFIG, statistics), CONFIG, statistics)
    return path


@pytest.fixture
def data(tmp_path):
    random = np.random.default_rng(0)
    frames = [water(n) for n in range(3)] + [silicon(n) for n in range(2)]
    for atoms in frames:
        atoms.info["config_type"] = str(atoms.symbols)
        atoms.info["REF_energy"] = -100.0 * len(atoms) + random.normal()
        atoms.arrays["REF_forces"] = random.normal(size=(len(atoms), 3))
    path = tmp_path / "test.xyz"
    write(path, frames, format="extxyz")
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_tables_files_and_exit_status(tmp_path, model, data):
    files = {name: tmp_path / "new" / name for name in ("r.html", "m.json", "p.xyz")}

    result = run(
        model,
        data,
        *("--report", files["r.html"]),
        *("--json", files["m.json"]),
        *("--output", files["p.xyz"]),
    )

    assert result.exit_code == 0, result.output
    record = json.loads(files["m.json"].read_text(encoding="utf-8"))
    assert record["structures"] == 5
    assert record["errors"]["forces"]["overall"]["count"] == 3 * (3 * 3 + 2 * 8)
    assert set(record["errors"]["energy"]["per_config_type"]) == {"OH2", "Si8"}
    assert f"{record['errors']['forces']['overall']['rmse']:.0f}" in result.output
    assert "No structure has a label for stress" in " ".join(result.output.split())
    assert files["r.html"].read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_predictions_are_predicted_without_error(tmp_path, model, data):
    output = tmp_path / "predictions.xyz"
    run(model, data, "--output", output)

    again = tmp_path / "again.json"
    keys = [f"--{n}-key=equipot_{n}" for n in ("energy", "forces", "stress")]
    result = run(model, output, "--json", again, *keys)

    assert result.exit_code == 0, result.output
    errors = json.loads(again.read_text(encoding="utf-8"))["errors"]
    assert max(errors[n]["overall"]["mae"] for n in errors) < 1e-4
    assert errors["stress"]["overall"]["count"] == 2 * 9


def test_predictions_keep_labels_and_what_else_the_file_holds(tmp_path, model, data):
    output = tmp_path / "predictions.xyz"

    run(model, data, "--output", output)

    before, after = read(data, ":"), read(output, ":")
    for old, new in zip(before, after, strict=True):
        assert new.info["REF_energy"] == old.info["REF_energy"]
        assert new.info["config_type"] == old.info["config_type"]
        np.testing.assert_allclose(new.arrays["REF_forces"], old.arrays["REF_forces"])


def test_predictions_without_labels(tmp_path, model):
    data, output = tmp_path / "bare.xyz", tmp_path / "predictions.xyz"
    write(data, water(), format="extxyz")

    refused, accepted = run(model, data), run(model, data, "--output", output)

    assert refused.exit_code == 1
    assert "no structure has a label: expected REF_energy" in refused.output
    assert accepted.exit_code == 0, accepted.output
    assert "equipot_energy" in read(output).info


def test_rows_of_isolated_atoms_are_left_out_and_said_to_be(tmp_path, model, data):
    frames = [*read(data, ":"), water()[:1]]
    frames[-1].info |= {"config_type": "IsolatedAtom", "REF_energy": -1.0}
    write(data, frames, format="extxyz")

    result = run(model, data, "--json", tmp_path / "m.json")

    record = json.loads((tmp_path / "m.json").read_text(encoding="utf-8"))
    assert record["structures"] == 5
    assert "1 row of an isolated atom was left out" in " ".join(result.output.split())


def test_unknown_elements_name_file_and_frame(model, data):
    frames = read(data, ":")
    frames[3].numbers[0] = 54
    write(data, frames, format="extxyz")

    result = run(model, data)

    assert result.exit_code == 1
    assert "test.xyz#3 contains Xe" in result.output
    assert "supports only H, O, Si" in result.output


def test_a_key_that_is_not_there_is_an_error(model, data):
    result = run(model, data, "--forces-key", "dft_forces")

    assert result.exit_code == 1
    assert "no structure has forces under 'dft_forces'" in result.output
    assert "REF_forces" in result.output


def test_a_file_given_twice_is_an_error(model, data):
    result = run(model, data, data)

    assert result.exit_code == 1
    assert "given twice" in result.output


def test_a_model_that_is_not_there_is_an_error(tmp_path, data):
    result = run(tmp_path / "none.safetensors", data)

    assert result.exit_code == 1
    assert "no such file" in result.output


@pytest.fixture
def other_model(tmp_path):
    """A model that learned from labels of other names."""
    path = tmp_path / "other.safetensors"
    statistics = statistics_of((1, 8, 14), CUTOFF)
    keys = {"energy": "dft_energy", "forces": "dft_forces", "virials": "dft_virial"}
    extra = {"provenance": {"data": {}, "config": {"data": {"keys": keys}}}}
    potential = build_potential(CONFIG, statistics)
    save_potential(path, potential, CONFIG, statistics, extra)
    return path


@pytest.fixture
def other_data(tmp_path, data):
    frames = read(data, ":")
    for atoms in frames:
        atoms.info["dft_energy"] = atoms.info.pop("REF_energy")
        atoms.arrays["dft_forces"] = atoms.arrays.pop("REF_forces")
    path = tmp_path / "other.xyz"
    write(path, frames, format="extxyz")
    return path


def test_keys_are_those_of_the_training(tmp_path, model, data, other_model, other_data):
    files = [tmp_path / "expected.json", tmp_path / "found.json"]
    run(model, data, "--json", files[0])

    result = run(other_model, other_data, "--json", files[1])

    assert result.exit_code == 0, result.output
    errors = [json.loads(file.read_text())["errors"] for file in files]
    for name in ("energy", "forces"):
        assert errors[1][name]["overall"] == errors[0][name]["overall"]


def test_given_keys_go_before_those_of_the_training(other_model, data):
    result = run(
        other_model, data, "--energy-key=REF_energy", "--forces-key=REF_forces"
    )

    assert result.exit_code == 0, result.output
    missing = run(other_model, data, "--energy-key=nothing")
    assert missing.exit_code == 1
    assert "no structure has energy under 'nothing'" in missing.output


@pytest.mark.parametrize("option", [None, "--output", "--report", "--json"])
def test_labels_of_other_names_are_never_no_labels(tmp_path, model, other_data, option):
    written = tmp_path / "written"

    result = run(model, other_data, *([option, written] if option else []))

    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "expected REF_energy, REF_forces, REF_stress" in text
    assert "dft_energy" in text
    assert written.exists() == (option == "--output")
