"""Files of results name the model and its hash, the version, and the date."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read, write
from typer.testing import CliRunner

import equipot
from equipot.checkpoint.file import read_header, save_potential
from equipot.cli.main import app
from equipot.cli.structures import read_structure
from equipot.config.model import NequIPConfig
from equipot.data.reading.labeled import read_structures
from equipot.models import build_potential
from tests.potentials import statistics_of

CONFIG = NequIPConfig(
    cutoff=3.0,
    lmax=1,
    channels=4,
    num_layers=2,
    radial_hidden=(8,),
    zbl=True,
    backend="clebsch_gordan",
)


def save(path, seed):
    pairs = dict.fromkeys(("H-H", "H-O", "O-O", "Si-Si"), 0.3)
    statistics = replace(statistics_of((1, 8, 14), 3.0), minimum_distances=pairs)
    path.parent.mkdir(parents=True, exist_ok=True)
    potential = build_potential(CONFIG, statistics, seed=seed)
    save_potential(path, potential, CONFIG, statistics)


GUESS = [(0.05, -1.38, 0), (2.19, 0.72, 0), (-2.24, 0.70, 0)]
"""Near a stationary point of the committee."""

MD = """
model: {model}
structure: {{file: {structure}, replicate: [2, 2, 2]}}
ensemble: {{name: langevin}}
steps: {steps}
timestep: 1.0
device: cpu
on_extrapolation: ignore
output: {output}
record: {{log: 1, trajectory: 2, checkpoint: 2, format: {form}}}
"""


@pytest.fixture(scope="module")
def committee(tmp_path_factory):
    """A folder with three runs."""
    folder = tmp_path_factory.mktemp("runs")
    for n in (1, 2, 3):
        save(folder / f"member_{n}" / "model.safetensors", seed=n)
    return folder


@pytest.fixture(scope="module")
def model(committee):
    return committee / "member_1" / "model.safetensors"


@pytest.fixture
def water(tmp_path):
    path = tmp_path / "water.xyz"
    write(path, Atoms("OHH", [(0, 0, 0), (0.96, 0, 0), (-0.24, 0.93, 0)]))
    return path


@pytest.fixture
def crystal(tmp_path):
    path = tmp_path / "crystal.xyz"
    write(path, bulk("Si", "diamond", a=4.41))
    return path


def run(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exception is None or result.exit_code == 1, result.output
    return result


def members(committee):
    return sorted(committee.glob("member_*/model.safetensors"))


def hashes(models):
    return [read_header(path)["sha256"] for path in models]


def check_section(file, models, *inputs):
    """A section with all models, inputs, version, and a date of the last minutes."""
    section = json.loads(file.read_text(encoding="utf-8"))["provenance"]
    assert section["equipot_version"] == equipot.__version__
    date = datetime.fromisoformat(section["date"])
    assert date.utcoffset().total_seconds() == 0
    assert abs((datetime.now(UTC) - date).total_seconds()) < 600
    assert section["models"] == [
        {"file": str(path), "sha256": digest}
        for path, digest in zip(models, hashes(models), strict=True)
    ]
    assert section["inputs_sha256"] == {
        str(path): sha256(path.read_bytes()).hexdigest() for path in inputs
    }
    return section


def check_page(file, models):
    footer = file.read_text(encoding="utf-8").rpartition("<footer>")[2]
    assert f"equipot {equipot.__version__}, 20" in footer
    for path, digest in zip(models, hashes(models), strict=True):
        assert f"Model {path}, SHA-256 {digest}." in footer


def check_frames(file, models):
    for frame in read(file, ":"):
        assert frame.info["equipot_model_sha256"] == ",".join(hashes(models))
        assert frame.info["equipot_model"] == ",".join(map(str, models))
        assert frame.info["equipot_version"] == equipot.__version__
        assert frame.info["equipot_date"].endswith("Z")


def check_spread(result, count, *structures):
    """Printed for each structure, with another number than zero."""
    lines = [x for x in result.output.splitlines() if x.startswith("committee of")]
    assert (
        lines[0] == f"committee of {count} members; results are means over the members:"
    )
    for line, structure in zip(lines[1:], structures, strict=True):
        assert line.startswith(
            f"committee of {count} at the {structure}: energy spread"
        )


def energies_of(committee, frame):
    """What each member says of a structure."""
    found = []
    for path in members(committee):
        calculator = equipot.EquipotCalculator(
            path, dtype="float64", on_extrapolation="ignore"
        )
        found.append(calculator.get_potential_energy(frame))
    return np.array(found)


def relaxed(model, structure, folder):
    out, steps = folder / "relaxed.xyz", folder / "steps.xyz"
    result = run("relax", model, structure, "--output", out, "--trajectory", steps)
    assert result.exit_code == 0, result.output
    return result, out, steps


def test_a_relaxed_structure_and_its_trajectory_name_the_model(model, water, tmp_path):
    _, out, steps = relaxed(model, water, tmp_path)

    check_frames(out, [model])
    check_frames(steps, [model])
    assert "energy_spread" not in read(out).info


def test_a_committee_relaxes_and_says_how_far_it_is_apart(committee, water, tmp_path):
    result, out, steps = relaxed(committee, water, tmp_path)

    check_frames(out, members(committee))
    check_frames(steps, members(committee))
    check_spread(result, 3, "relaxed structure")
    for path, digest in zip(
        members(committee), hashes(members(committee)), strict=False
    ):
        assert f"  {path}  {digest[:16]}" in result.output.splitlines()
    frame = read(out)
    energies = energies_of(committee, frame)
    assert frame.info["energy_spread"] == pytest.approx(energies.std(ddof=1), rel=1e-3)
    assert frame.get_potential_energy() == pytest.approx(energies.mean(), abs=1e-6)
    assert frame.arrays["forces_spread"].shape == (3,)
    assert frame.arrays["forces_spread"].max() > 0


def test_what_a_file_names_is_replaced_by_what_made_the_new_one(
    committee, model, water, tmp_path
):
    _, out, _ = relaxed(committee, water, tmp_path)

    (tmp_path / "again").mkdir()
    _, again, _ = relaxed(model, out, tmp_path / "again")

    check_frames(again, [model])
    assert "energy_spread" not in read(again).info
    assert "forces_spread" not in read(again).arrays


@pytest.mark.parametrize("of", ["model", "committee"])
def test_vibrations(of, request, committee, water, tmp_path):
    folder, given = tmp_path / "out", request.getfixturevalue(of)
    models = [given] if of == "model" else members(committee)

    result = run("vibrations", given, water, "--output", folder)

    check_section(folder / "vibrations.json", models, water)
    check_page(folder / "report.html", models)
    check_frames(folder / "modes.xyz", models)
    record = json.loads((folder / "vibrations.json").read_text(encoding="utf-8"))
    if of == "model":
        assert "committee" not in record
        return
    check_spread(result, 3, "stationary structure")
    (spread,) = record["committee"]
    assert spread["members"] == len(spread["energies_ev"]) == 3
    assert spread["energy_spread_ev_per_atom"] == pytest.approx(
        np.std(spread["energies_ev"], ddof=1) / 3
    )
    assert spread["largest_force_spread_ev_per_angstrom"] > 0
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Committee of 3 at the stationary structure" in page


@pytest.mark.parametrize("command", ["phonons", "eos"])
def test_crystals(command, committee, crystal, tmp_path):
    folder, models = tmp_path / "out", members(committee)
    if command == "phonons":
        pytest.importorskip("phonopy", reason="needs equipot[phonons]")
    options = {
        "phonons": ["--supercell", "2"],
        "eos": ["--relax", "nothing", "--points", "5"],
    }
    where = {"phonons": "crystal", "eos": "lowest structure of the scan"}

    result = run(command, committee, crystal, "--output", folder, *options[command])

    check_section(folder / f"{command}.json", models, crystal)
    check_page(folder / "report.html", models)
    check_spread(result, 3, where[command])
    record = json.loads((folder / f"{command}.json").read_text(encoding="utf-8"))
    assert record["committee"][0]["energy_spread_ev"] > 0
    assert "Committee of 3 at the" in (folder / "report.html").read_text("utf-8")
    if command == "eos":
        check_frames(folder / "scan.xyz", models)
    else:
        text = (folder / "phonopy_params.yaml").read_text(encoding="utf-8")
        assert all(f"SHA-256 {digest}" in text for digest in hashes(models))


def test_elastic_constants(committee, crystal, tmp_path):
    file = tmp_path / "elastic.json"

    result = run("elastic", committee, crystal, "--json", file)

    check_section(file, members(committee), crystal)
    check_spread(result, 3, "crystal")
    record = json.loads(file.read_text(encoding="utf-8"))
    assert record["committee"][0]["energy_spread_ev"] > 0


def test_a_reaction(committee, tmp_path):
    folder, models = tmp_path / "out", members(committee)
    saddle_guess = tmp_path / "guess.xyz"
    write(saddle_guess, Atoms("OHH", GUESS))

    result = run(
        "saddle", committee, saddle_guess, "--output", folder, "--path-steps", 2
    )

    check_section(folder / "reaction.json", models, saddle_guess)
    check_page(folder / "report.html", models)
    check_frames(folder / "path.xyz", models)
    check_frames(folder / "points.xyz", models)
    check_spread(result, 3, "start", "saddle point", "end")
    record = json.loads((folder / "reaction.json").read_text(encoding="utf-8"))
    start, saddle, _ = (np.array(c["energies_ev"]) for c in record["committee"])
    assert record["barrier_spreads_ev"][0] == pytest.approx(
        (saddle - start).std(ddof=1)
    )
    for frame, spread in zip(
        read(folder / "points.xyz", ":"), record["committee"], strict=True
    ):
        assert frame.info["energy_spread"] == pytest.approx(spread["energy_spread_ev"])


def dynamics(model, structure, output, form, steps, *options):
    config = output.parent / f"{output.name}.yaml"
    config.write_text(
        MD.format(
            model=model, structure=structure, output=output, form=form, steps=steps
        )
    )
    result = run("md", config, *options)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("form", ["extxyz", "traj"])
def test_dynamics_and_their_analysis(form, committee, crystal, tmp_path):
    folder, models = tmp_path / "md", members(committee)

    result = dynamics(committee, crystal, folder, form, 4)

    check_section(folder / "summary.json", models, crystal)
    (start,) = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    assert [m["sha256"] for m in start["provenance"]["models"]] == hashes(models)
    assert (
        "committee of 3 members; results are means over the members:" in result.output
    )
    trajectory = folder / f"trajectory.{form}"
    for frame in read(trajectory, ":"):
        assert frame.info["equipot_model_sha256"] == ",".join(hashes(models))
        assert frame.info["equipot_version"] == equipot.__version__
    out = tmp_path / "analysis"
    assert run("analyze", folder, "--output", out).exit_code == 0
    check_section(out / "analysis.json", models, trajectory, folder / "log.csv")
    check_page(out / "report.html", models)


def test_resumed_dynamics_have_the_same_frames_and_name_every_start(
    model, crystal, tmp_path
):
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    dynamics(model, crystal, whole, "extxyz", 4)
    dynamics(model, crystal, pieces, "extxyz", 2)
    dynamics(model, crystal, pieces, "extxyz", 4, "--resume")

    frames = [(f / "trajectory.extxyz").read_bytes() for f in (whole, pieces)]
    assert frames[0] == frames[1]
    starts = json.loads((pieces / "environment.json").read_text(encoding="utf-8"))
    assert [len(s["provenance"]["models"]) for s in starts] == [1, 1]


def test_an_analysis_of_frames_that_moved_away_from_their_run(model, crystal, tmp_path):
    dynamics(model, crystal, tmp_path / "md", "extxyz", 4)
    moved = tmp_path / "moved.extxyz"
    (tmp_path / "md" / "trajectory.extxyz").rename(moved)

    run("analyze", moved, "--output", tmp_path / "out")

    record = json.loads((tmp_path / "out" / "analysis.json").read_text("utf-8"))
    assert record["provenance"]["models"] == [
        {"file": None, "sha256": hashes([model])[0]}
    ]


def test_evaluations(committee, water, tmp_path):
    models = members(committee)
    frame = read(water)
    frame.info["REF_energy"] = -100.0
    labeled = tmp_path / "labeled.xyz"
    write(labeled, frame)
    files = [tmp_path / name for name in ("m.json", "r.html", "p.xyz")]
    options = zip(("--json", "--report", "--output"), files, strict=True)

    result = run("evaluate", committee, labeled, *(x for pair in options for x in pair))

    assert result.exit_code == 0, result.output
    check_section(files[0], models, labeled)
    check_page(files[1], models)
    check_frames(files[2], models)


def test_data_checks_and_conversions(water, tmp_path):
    file, archive, converted = (tmp_path / n for n in ("c.json", "a.npz", "a.xyz"))
    run("data", "check", water, "--json", file)
    atoms = read(water)
    np.savez(
        archive,
        R=atoms.positions[None],
        z=atoms.numbers,
        E=np.array([-470.0]),
        F=np.zeros((1, 3, 3)),
    )

    result = run(
        "data", "convert", archive, "-o", converted, "--energy-unit", "eV",
        "--length-unit", "Å",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    check_section(file, [], water)
    (structure,) = read_structures(converted)
    info = structure.atoms.info
    digest = sha256(archive.read_bytes()).hexdigest()
    assert info["equipot_source_sha256"] == digest
    assert info["equipot_version"] == equipot.__version__
    assert datetime.fromisoformat(info["equipot_date"]).tzinfo is not None


def test_a_potential_in_memory_is_named_by_its_weights(model):
    potential = equipot.load_potential(model)
    calculator = equipot.EquipotCalculator(potential)
    (before,) = calculator.models

    with torch.no_grad():
        next(potential.parameters()).add_(1e-3)

    (after,) = calculator.models
    assert before.file is after.file is None
    assert len(before.sha256) == 64
    assert before.sha256 != after.sha256


def test_a_file_that_is_replaced_is_named_as_it_was_read(model, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(model.read_bytes())
    calculator = equipot.EquipotCalculator(path)

    save(path, seed=9)

    assert calculator.models[0].sha256 == hashes([model])[0] != hashes([path])[0]


def test_info_lists_the_members_of_a_committee(committee):
    result = run("info", committee)
    content = json.loads(run("info", committee, "--json").stdout)

    assert result.exit_code == 0, result.output
    assert "3 members: member_1, member_2, member_3" in result.output
    assert all(digest in result.output for digest in hashes(members(committee)))
    assert result.output.count("architecture") == 1
    assert list(content["members"]) == [str(path) for path in members(committee)]


def test_what_a_committee_writes_is_not_taken_for_labels(committee, water, tmp_path):
    _, out, _ = relaxed(committee, water, tmp_path)

    result = run("data", "check", out)

    words = " ".join(result.output.split())
    assert "but there is energy: pass --energy-key energy" in words
    assert "forces_spread" not in words
    assert "equipot_model" not in words
    assert read_structure(str(out)).arrays.keys() == {"numbers", "positions"}
