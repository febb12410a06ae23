import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

from equipot.checkpoint import save_potential
from equipot.cli.main import app
from equipot.config.model import ModelConfig
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


@pytest.fixture
def folder(tmp_path):
    config = ModelConfig(
        cutoff=3.0, lmax=1, channels=4, num_layers=1, radial_hidden=(8,), zbl=True
    )
    statistics = statistics_of((14,), 3.0)
    statistics.minimum_distances["Si-Si"] = 1.8
    potential = build_potential(config, statistics)
    save_potential(tmp_path / "model.safetensors", potential, config, statistics)
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
    assert "temperature" in whole.output
    log, again = ((folder / name / "log.csv").read_bytes() for name in ("whole", "run"))
    assert log == again
    assert len(read(folder / "run" / "trajectory.extxyz", ":")) == 4


def test_other_model_cannot_resume_a_run(folder):
    _md(folder / "md.yaml")
    config = ModelConfig(
        cutoff=3.0, lmax=1, channels=4, num_layers=1, radial_hidden=(8,), zbl=True
    )
    statistics = statistics_of((14,), 3.0)
    statistics.minimum_distances["Si-Si"] = 1.8
    other = build_potential(config, statistics, seed=5)
    save_potential(folder / "model.safetensors", other, config, statistics)

    result = _md(folder / "md.yaml", "--resume")

    assert result.exit_code == 1
    assert "calculator was" in result.output


def test_alarm_ends_with_status_1_and_says_why(folder):
    result = _md(folder / "md.yaml", "--set", "alarms.max_temperature=1")

    assert result.exit_code == 1
    assert "alarms.max_temperature is 1" in result.output
    assert "Traceback" not in result.output
    assert np.isfinite(read(folder / "run" / "alarm.extxyz").positions).all()


def test_structure_outside_of_the_domain_is_explained(folder):
    write(folder / "start.xyz", bulk("Si", a=3.9), format="extxyz")

    result = _md(folder / "md.yaml")

    assert result.exit_code == 1
    assert "Si-Si" in result.output
    assert "on_extrapolation" in result.output
