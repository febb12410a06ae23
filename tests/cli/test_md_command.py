import json

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

from equipot.checkpoint.file import save_potential
from equipot.cli.main import app
from equipot.config.model import NequIPConfig
from equipot.models import build_potential
from equipot.system.interrupt import Interruption
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
    config = NequIPConfig(
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
    log = np.genfromtxt(folder / "run" / "log.csv", delimiter=",", names=True)
    spread = log["max_force_spread_eV_per_A"]
    assert (spread[1:] > 0).all()  # the first forces vanish by symmetry
    assert (log["energy_spread_meV_per_atom"] > 0).all()
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["largest_force_spread_eV_per_A"] == spread.max()
    assert summary["largest_force_spread_step"] == log["step"][spread.argmax()]
    assert summary["mean_max_force_spread_eV_per_A"] == pytest.approx(spread.mean())
    assert "committee    mean energy spread" in result.output
    assert stopped.exit_code == 1
    assert "the committee members differ by" in stopped.output


def test_the_spread_of_a_committee_is_the_same_after_a_restart(folder):
    _save(folder / "other.safetensors", seed=5)
    models = f"model=[{folder}/model.safetensors, {folder}/other.safetensors]"

    _md(folder / "md.yaml", "--set", models, "--output", folder / "whole")
    _md(folder / "md.yaml", "--set", models, "--set", "steps=5")
    result = _md(folder / "md.yaml", "--set", models, "--resume")

    assert result.exit_code == 0, result.output
    log, again = ((folder / name / "log.csv").read_bytes() for name in ("whole", "run"))
    assert log == again
    summaries = [
        json.loads((folder / name / "summary.json").read_text())
        for name in ("whole", "run")
    ]
    for name in ("mean_energy_spread_meV_per_atom", "largest_force_spread_step"):
        assert summaries[0][name] == summaries[1][name]


def test_the_folder_of_a_committee_is_a_model(folder):
    for n in (1, 2):
        (folder / "pair" / f"member_{n}").mkdir(parents=True)
        _save(folder / "pair" / f"member_{n}" / "model.safetensors", seed=n)

    result = _md(folder / "md.yaml", "--set", f"model={folder}/pair")

    assert result.exit_code == 0, result.output
    assert "max_force_spread" in (folder / "run" / "log.csv").read_text()


def test_a_training_configuration_is_recognized(folder):
    path = folder / "train.yaml"
    path.write_text("data: {train: [a.xyz]}\nmodel: {cutoff: 5}\n")

    result = _md(path, "--set", "steps=5")

    assert result.exit_code == 1
    assert "this is a training configuration; use it with: train-pot" in result.output


def test_a_model_is_no_configuration(folder):
    result = _md(folder / "model.safetensors")

    assert result.exit_code == 1
    assert "is a model, expected a YAML file that names it" in result.output


def test_another_ensemble_leaves_the_keys_of_the_old_one(folder):
    text = (folder / "md.yaml").read_text()
    text = text.replace("name: langevin", "name: langevin, friction: 0.02")
    (folder / "md.yaml").write_text(text)

    result = _md(folder / "md.yaml", "--set", "ensemble.name=bussi")
    lacking = _md(folder / "md.yaml", "--set", "ensemble.name=npt_berendsen")
    wrong = _md(
        folder / "md.yaml",
        *("--set", "ensemble.name=bussi", "--set", "ensemble.friction=0.1"),
    )

    assert result.exit_code == 0, result.output
    assert "ensemble.friction of the file not used: bussi has no such" in result.output
    assert lacking.exit_code == 1
    assert "npt_berendsen needs ensemble.compressibility (Isothermal" in lacking.output
    assert wrong.exit_code == 1
    assert "ensemble.friction: unknown key" in wrong.output


def test_a_misspelt_key_of_the_old_ensemble_is_still_an_error(folder):
    text = (folder / "md.yaml").read_text()
    text = text.replace("name: langevin", "name: langevin, frictoin: 0.02")
    (folder / "md.yaml").write_text(text)

    result = _md(folder / "md.yaml", "--set", "ensemble.name=bussi")

    assert result.exit_code == 1
    assert "frictoin: unknown key" in result.output


@pytest.mark.parametrize("key", ["model", "structure.file"])
def test_a_path_that_leads_nowhere_says_where_it_starts(key, folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "sub").mkdir()
    (folder / "sub" / "md.yaml").write_text((folder / "md.yaml").read_text())
    (folder / "sub" / "a.bin").touch()

    result = _md("sub/md.yaml", "--set", f"{key}=a.bin")

    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert f"{key}: a.bin: no such file; relative paths are relative to" in text
    assert "(there is sub/a.bin, beside the configuration)" in text


def test_a_folder_that_cannot_be_made_is_named(folder):
    (folder / "file").touch()

    result = _md(folder / "md.yaml", "--output", folder / "file" / "run")

    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "cannot write" in text
    assert "file is a file" in text.replace("\n", "")


def test_a_short_run_has_no_drift(folder):
    result = _md(folder / "md.yaml", "--set", "ensemble=nve")

    assert "drift        not determined: the run is 0.012 ps" in result.output
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert summary["drift_meV_per_atom_per_ns"] is None


def test_the_first_screen_says_what_the_file_gave(folder):
    atoms = bulk("Si", cubic=True)
    atoms.set_masses([29.0] * 8)
    atoms.set_momenta(np.random.default_rng(0).normal(size=(8, 3)))
    atoms.info["REF_energy"] = 1.0
    write(folder / "start.xyz", atoms, format="extxyz")

    result = _md(folder / "md.yaml", "--set", "fixed=[0, 4]")

    assert result.exit_code == 0, result.output
    for text in (
        "non-standard masses of the file are used for 8 atoms: Si 29 u",
        "dropped, since they are valid for the frame of the file only: REF_energy",
        "velocities of fixed atoms in the file are set to zero",
        "2 of 8 atoms are fixed",
        "velocities: of the structure file; ",
        "K, 18 degrees of freedom (without 6 of 2 fixed atoms)",
    ):
        assert text in result.output
    frames = read(folder / "run" / "trajectory.extxyz", ":")
    assert all(frame.get_masses()[0] == 29 for frame in frames)


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
