import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

from equipot.checkpoint import save_potential
from equipot.cli.main import app
from equipot.config.model import ModelConfig
from equipot.interrupt import Interruption
from equipot.models import build_potential
from tests.potentials import statistics_of

CONFIG = """
model: {folder}/model.safetensors
structure: {{file: {folder}/start.xyz}}
ensemble: {{name: langevin}}
steps: 12
timestep: 1.0
device: cpu
output: {folder}/run
record: {{log: 1, trajectory: 4, checkpoint: 5}}
"""


def _save(path, seed):
    config = ModelConfig(
        cutoff=3.0,
        lmax=1,
        channels=4,
        num_layers=1,
        radial_hidden=(8,),
        zbl=True,
        backend="clebsch_gordan",
    )
    statistics = statistics_of((14,), 3.0)
    statistics.minimum_distances["Si-Si"] = 1.8
    potential = build_potential(config, statistics, seed=seed)
    save_potential(path, potential, config, statistics)


@pytest.fixture
def folder(tmp_path):
    _save(tmp_path / "model.safetensors", seed=0)
    write(tmp_path / "start.xyz", bulk("Si", cubic=True), format="extxyz")
    (tmp_path / "md.yaml").write_text(CONFIG.format(folder=tmp_path))
    return tmp_path


def _md(*arguments):
    return CliRunner().invoke(app, ["md", *map(str, arguments)])


def test_runs_and_resumes(folder):
    whole = _md(folder / "md.yaml", "--output", folder / "whole")
    first = _md(folder / "md.yaml", "--set", "steps=7")
    second = _md(folder / "md.yaml", "--resume")

    assert [whole.exit_code, first.exit_code, second.exit_code] == [0, 0, 0], (
        whole.output + first.output + second.output
    )
    assert f"langevin, 8 atoms, 12 steps of 1 fs; files in {folder}" in whole.output
    assert "12 steps of 1 fs from step 7; files in" in second.output
    assert "temperature" in whole.output
    log, again = ((folder / name / "log.csv").read_bytes() for name in ("whole", "run"))
    assert log == again
    assert len(read(folder / "run" / "trajectory.extxyz", ":")) == 4


def test_other_model_cannot_resume_a_run(folder):
    _md(folder / "md.yaml")
    _save(folder / "model.safetensors", seed=5)

    result = _md(folder / "md.yaml", "--resume")

    assert result.exit_code == 1
    assert "calculator was" in result.output


def test_alarm_ends_with_status_1_and_says_why(folder):
    result = _md(folder / "md.yaml", "--set", "alarms.max_temperature=1")

    assert result.exit_code == 1
    assert "alarms.max_temperature is 1" in result.output
    assert "Traceback" not in result.output
    assert np.isfinite(read(folder / "run" / "alarm.extxyz").positions).all()


@pytest.mark.filterwarnings("default")
def test_extrapolation_is_a_warning_of_one_line_by_choice(folder):
    write(folder / "start.xyz", bulk("Si", a=3.9, cubic=True), format="extxyz")

    result = _md(folder / "md.yaml", "--set", "on_extrapolation=warn")

    assert result.exit_code == 0
    (line,) = [text for text in result.stderr.splitlines() if "extrapolates" in text]
    assert line.startswith("warning: atoms ")
    assert ".py" not in line


def test_a_committee_runs_by_its_mean(folder):
    _save(folder / "other.safetensors", seed=5)
    models = f"model=[{folder}/model.safetensors, {folder}/other.safetensors]"

    result = _md(folder / "md.yaml", "--set", models)
    stopped = _md(
        folder / "md.yaml",
        *("--set", models, "--set", "max_spread=1e-9"),
        *("--output", folder / "strict"),
    )

    assert result.exit_code == 0, result.output
    assert stopped.exit_code == 1
    assert "the members of the committee differ by" in stopped.output


def test_an_interrupted_run_ends_with_status_130(folder, monkeypatch):
    monkeypatch.setattr(Interruption, "requested", True)

    result = _md(folder / "md.yaml")

    assert result.exit_code == 130
    assert "interrupted; continue with --resume" in result.output


def test_structure_outside_of_the_domain_is_explained(folder):
    write(folder / "start.xyz", bulk("Si", a=3.9), format="extxyz")

    result = _md(folder / "md.yaml")

    assert result.exit_code == 1
    assert "Si-Si" in result.output
    assert "on_extrapolation" in result.output
