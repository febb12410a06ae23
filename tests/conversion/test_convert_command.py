"""`equipot convert`, and what the commands do with a model that it wrote."""

import warnings
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from typer.testing import CliRunner

from equipot import EquipotCalculator, load_potential, read_header
from equipot.calculators.guard import ExtrapolationError
from equipot.checkpoint.file import CheckpointError, load_domain, save_potential
from equipot.checkpoint.origin import parse_origin
from equipot.cli.main import app
from equipot.config.model import parse_model
from equipot.conversion.sources import SOURCES
from equipot.data.statistics import UNKNOWN_TRAINING_SET
from equipot.neighbors import build_graph
from tests.conversion import fake_package
from tests.conversion.archives import Call, Name, program, write_archive


@pytest.fixture(autouse=True)
def _fake_source(monkeypatch):
    monkeypatch.setitem(SOURCES, "fake", fake_package.FAKE)
    monkeypatch.delenv("EQUIPOT_DEBUG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def convert(tmp_path, monkeypatch):
    """Runs the command; returns exit status and text."""
    monkeypatch.chdir(tmp_path)

    def run(*options, file="a.fake", output="a.safetensors", dtype="float64"):
        if file == "a.fake":
            fake_package.write(tmp_path / file, dtype)
        arguments = ["convert", file, "--output", output, *options]
        result = CliRunner().invoke(app, arguments)
        return result.exit_code, " ".join(result.output.split())

    return run


def structures():
    water = molecule("H2O", vacuum=0)
    crystal = bulk("C", "diamond", a=3.6)
    crystal.rattle(0.05, seed=1)
    return [water, molecule("CH3OH"), molecule("CO"), crystal]


def labeled(path, energy=0.0, forces=0.0):
    """Structures with predictions of the original, which may be off."""
    frames = []
    for atoms in structures():
        atoms.calc = EquipotCalculator(fake_package.original())
        wrong = np.zeros((len(atoms), 3))
        wrong[0, 0] = forces
        atoms.info["REF_energy"] = atoms.get_potential_energy() + energy * len(atoms)
        atoms.arrays["REF_forces"] = atoms.get_forces() + wrong
        if atoms.pbc.all():
            atoms.info["REF_stress"] = atoms.get_stress(voigt=False)
        atoms.calc = None
        frames.append(atoms)
    path.write_text("")
    for atoms in frames:
        ase.io.write(path, atoms, append=True, format="extxyz")
    return str(path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_converted_model_is_the_original(convert, tmp_path, dtype):
    status, text = convert(dtype=dtype)

    assert status == 0, text
    found = load_potential(tmp_path / "a.safetensors")
    assert found.dtype == getattr(torch, dtype)
    graph = build_graph(molecule("CH3OH"), 4.0)
    expected = fake_package.original(dtype)(graph, {"energy", "forces"})
    prediction = found(graph, {"energy", "forces"})
    assert torch.equal(prediction.energy, expected.energy)
    assert torch.equal(prediction.forces, expected.forces)


def test_the_command_says_what_was_read_and_what_to_type_next(convert):
    status, text = convert("--license", "CC-BY-4.0", "--head", "pbe")

    assert status == 0, text
    for part in (
        "a.fake: Fake 1, .fake",
        "nequip, 2 layers, 4 channels, lmax 1, cutoff 4 Å",
        "elements 3: H C O",
        "converted from fake-package 1.2, FakeNet, head pbe, float64",
        "license CC-BY-4.0",
        "trained data set: none at all",
        f"remark {fake_package.REMARK}",
        "without effect step: of the optimizer",
        "without effect settings.who: a name",
        f"warning: {UNKNOWN_TRAINING_SET}",
        "wrote a.safetensors",
        'EquipotCalculator("a.safetensors")',
        "equipot md MD.yaml --set model=a.safetensors",
    ):
        assert part in text, part


def test_info_shows_the_origin(convert):
    convert("--license", "MIT")

    text = " ".join(CliRunner().invoke(app, ["info", "a.safetensors"]).output.split())

    assert "converted from fake-package 1.2, FakeNet, float64" in text
    assert "license MIT" in text
    assert f"remark {fake_package.REMARK}" in text
    assert f"warning {UNKNOWN_TRAINING_SET}" in text
    assert "from the original" in text
    assert "structures 0" not in text
    assert "shortest distances" not in text


def test_an_unknown_license_is_stated(convert):
    _, text = convert()

    assert "license not known; convert with --license to record it" in text


def test_the_precision_can_be_chosen_and_nothing_is_rounded_in_the_file(convert):
    convert("--dtype", "float32")

    assert load_potential("a.safetensors").dtype == torch.float32
    exact = load_potential("a.safetensors", dtype="float64").state_dict()
    for name, weight in fake_package.original().state_dict().items():
        assert torch.equal(exact[name], weight)


def test_a_calculator_warns_once_that_there_is_no_domain(convert):
    convert()
    with pytest.warns(UserWarning, match="is not known, so there is no domain") as told:
        calculator = EquipotCalculator("a.safetensors")
    atoms = molecule("CO", calculator=calculator)
    atoms.positions *= 0.3  # far beyond any training set
    atoms.get_forces()

    assert len(told) == 1
    assert not calculator.has_domain
    EquipotCalculator("a.safetensors", on_extrapolation="ignore")


def test_structures_give_a_domain(convert, tmp_path):
    path = labeled(tmp_path / "train.xyz")
    status, text = convert("--domain", path)
    assert status == 0, text
    assert "domain of validity from 4 structures, 13 atoms" in text
    assert "warning" not in text

    calculator = EquipotCalculator("a.safetensors")
    assert calculator.has_domain
    assert load_domain("a.safetensors").features is not None
    for atoms in structures():
        atoms.calc = calculator
        atoms.get_forces()
    squeezed = molecule("CO", calculator=calculator)
    squeezed.positions *= 0.6
    with pytest.raises(
        ExtrapolationError, match="the minimum in the training set for C-O"
    ):
        squeezed.get_forces()
    header = read_header("a.safetensors")
    assert header["statistics"]["num_structures"] == 4
    assert list(header["provenance"]["data"]) == [path]
    assert len(header["samples"]) == 4
    result = CliRunner().invoke(app, ["info", "a.safetensors"])
    assert "4, given at conversion for the domain" in result.output


def test_elements_without_structures_are_told_of(convert, tmp_path):
    ase.io.write(tmp_path / "some.xyz", molecule("H2O"))

    status, text = convert("--domain", "some.xyz")

    assert status == 0, text
    assert "no structure has C: pairs with these elements count as extrapol" in text
    assert load_domain("a.safetensors").features is None


def test_labels_of_the_original_are_compared(convert, tmp_path):
    path = labeled(tmp_path / "golden.xyz")

    status, text = convert("--check-labels", path)

    assert status == 0, text
    assert f"compared with labels of {path}, 4 structures" in text
    for quantity in ("energy", "forces", "stress"):
        assert f"{quantity} " in text


@pytest.mark.parametrize(
    ("dtype", "wrong", "refused"),
    [
        ("float64", {"energy": 2e-8}, "energy"),
        ("float32", {"energy": 2e-5}, "energy"),
        ("float32", {"forces": 2e-4}, "forces"),
        ("float64", {"energy": 1e-9}, None),
        ("float32", {"forces": 5e-5}, None),
    ],
)
def test_a_model_that_differs_from_the_original_is_not_written(
    convert, tmp_path, dtype, wrong, refused
):
    # labels are those of the float64 original, and weights of float32 were rounded
    if dtype == "float32":
        fake_package.write(tmp_path / "b.fake", "float32")
        path = tmp_path / "b.xyz"
        _label_by(fake_package.original("float32").double(), path, **wrong)
    else:
        path = tmp_path / "b.xyz"
        labeled(path, **wrong)

    status, text = convert("--check-labels", str(path), dtype=dtype)

    assert (status == 0) == (refused is None), text
    assert (tmp_path / "a.safetensors").exists() == (refused is None)
    if refused:
        assert f"differs from the original: {refused}: largest" in text
        assert "Nothing was written" in text


def _label_by(potential, path, energy=0.0, forces=0.0):
    frames = structures()
    for atoms in frames:
        atoms.calc = EquipotCalculator(potential)
        wrong = np.zeros((len(atoms), 3))
        wrong[0, 0] = forces
        atoms.info["REF_energy"] = atoms.get_potential_energy() + energy * len(atoms)
        atoms.arrays["REF_forces"] = atoms.get_forces() + wrong
        atoms.calc = None
    ase.io.write(path, frames, format="extxyz")


def test_structures_without_labels_cannot_be_compared(convert, tmp_path):
    ase.io.write(tmp_path / "bare.xyz", molecule("H2O"))

    status, text = convert("--check-labels", "bare.xyz")

    assert status == 1
    assert "there is nothing to compare with" in text


@pytest.mark.slow
def test_the_original_is_run_in_a_process_of_its_own(convert, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    ase.io.write(tmp_path / "some.xyz", structures(), format="extxyz")

    status, text = convert("--check", "some.xyz")
    assert status == 0, text
    assert "compared with fake-package 0.1.0 on some.xyz, 4 structures" in text

    other = ("--check", "some.xyz", "--head", "shifted")
    status, text = convert(*other, output="b.safetensors")
    assert status == 1
    assert "error: the converted model differs from the original: energy" in text


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (fake_package.ABSENT, "--check needs the package a_package_that_nobody"),
        (fake_package.BROKEN, "the original package failed: broken"),
    ],
)
def test_an_original_that_cannot_be_run_is_one_message(
    convert, tmp_path, monkeypatch, source, reason
):
    monkeypatch.setitem(SOURCES, "fake", source)
    ase.io.write(tmp_path / "some.xyz", molecule("H2O"))

    status, text = convert("--check", "some.xyz")

    assert status == 1
    assert text.count("error: ") == 1
    assert reason in text
    assert not (tmp_path / "a.safetensors").exists()


def test_files_of_no_source_are_one_message(convert, tmp_path):
    torch.save({"x": 1}, tmp_path / "other.pt")
    torch.save([torch.nn.Linear(1, 1)], tmp_path / "list.pt")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pt")
    (tmp_path / "text.model").write_text("hello")
    (tmp_path / "pickle.pkl").write_bytes(b"\x80\x04N.")
    (tmp_path / "set.xyz").write_text("")
    for file, reason in (
        ("other.pt", "a file of torch.save that holds a dict; known are "),
        ("list.pt", "holds a list"),
        ("module.pt", "holds torch.nn.modules.linear.Linear"),
        ("text.model", "is not a model file of another package"),
        ("pickle.pkl", "bare pickle"),
        ("set.xyz", "equipot data convert is for those"),
        ("absent.model", "no file absent.model"),
    ):
        status, text = convert(file=file)
        assert status == 1
        assert text.startswith("error: "), text
        assert reason in text, text


def test_wrong_options_are_one_message(convert, tmp_path):
    (tmp_path / "there.safetensors").touch()
    for options, settings, reason in (
        (("--source", "foo"), {}, "no source 'foo'; choose among"),
        (("--dtype", "float16"), {}, "dtype must be float32 or float64"),
        (("--python", "x"), {}, "--python is for --check"),
        ((), {"output": "a.pt"}, "must end in .safetensors"),
        ((), {"output": "there.safetensors"}, "exists already"),
        (("--license", "x" * 2000), {}, "origin: license"),
    ):
        status, text = convert(*options, **settings)
        assert status == 1
        assert f"error: {reason}" in text or reason in text, text


def test_a_file_that_two_sources_may_read_needs_a_choice(convert, monkeypatch):
    monkeypatch.setitem(SOURCES, "twin", fake_package.FAKE)

    status, text = convert()
    assert status == 1
    assert "choose one with --source" in text
    assert convert("--source", "fake")[0] == 0


def test_an_unknown_setting_and_a_tensor_too_many_are_refused(convert, tmp_path):
    fake_package.write(tmp_path / "b.fake", activation="tanh")
    status, text = convert(file="b.fake")
    assert (status, "activation of settings is 'tanh'" in text) == (1, True)

    fake_package.write(tmp_path / "c.fake", cutoff_kind="new")
    status, text = convert(file="c.fake")
    assert (status, "cutoff_kind='new'" in text) == (1, True)


def test_a_file_cut_short_is_one_message(convert, tmp_path):
    content = fake_package.write(tmp_path / "b.fake").read_bytes()
    (tmp_path / "b.fake").write_bytes(content[: len(content) // 2])

    status, text = convert(file="b.fake")

    assert status == 1
    assert "error: b.fake is not a complete zip file" in text


@pytest.mark.slow
def test_other_commands_work_without_a_training_set(convert, tmp_path):
    convert()
    path = labeled(tmp_path / "test.xyz")
    run = CliRunner().invoke

    result = run(app, ["evaluate", "a.safetensors", path, "--report", "r.html"])
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert f"Training data: {UNKNOWN_TRAINING_SET}" in text

    ase.io.write(tmp_path / "one.xyz", structures()[0])
    options = ["--fmax", "10", "--output", "relaxed.xyz"]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = run(app, ["relax", "a.safetensors", "one.xyz", *options])
    assert result.exit_code == 0, result.output
    assert result.output.count("there is no domain of validity") == 1


def test_dynamics_does_not_claim_that_a_domain_was_never_left(convert, tmp_path):
    convert()
    ase.io.write(tmp_path / "one.xyz", structures()[0])
    (tmp_path / "md.yaml").write_text(
        "model: a.safetensors\nstructure: {file: one.xyz}\n"
        "ensemble: {name: nve}\nsteps: 3\noutput: out\n"
    )

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = CliRunner().invoke(app, ["md", "md.yaml"])

    assert result.exit_code == 0, result.output
    assert result.output.count("there is no domain of validity") == 1
    assert "never left" not in result.output


@pytest.mark.slow
def test_verification_at_the_end_repeats_the_remarks(convert):
    status, text = convert("--verify")

    assert status == 0, text
    assert f"of the original: {fake_package.REMARK}" in text
    assert text.count("there is no domain of validity") == 2
    assert "checks in" in text


def test_a_few_checks_are_made_at_the_end(convert):
    _, text = convert()

    assert "verified: translation, rotation, permutation, periodic images, forc" in text
    assert f"note: of the original: {fake_package.REMARK}" in text


def test_structures_of_the_domain_need_no_labels(convert, tmp_path):
    frames = [*structures(), molecule("H")]
    for atoms in frames:
        atoms.info["config_type"] = "IsolatedAtom"
    ase.io.write(tmp_path / "bare.xyz", frames, format="extxyz")

    status, text = convert("--domain", "bare.xyz")

    assert status == 0, text
    assert "domain of validity from 4 structures" in text


def test_an_origin_that_makes_no_sense_is_refused(tmp_path):
    config = parse_model({**fake_package.MODEL, "dtype": "float64"})
    origin = {
        "package": "x",
        "architecture": "x",
        "files": {"a": "0" * 64},
        "dtype": "float32",
    }
    for number, wrong in enumerate(
        (
            {"package": "x" * 300},
            {"files": {}},
            {"files": {"a": "zz"}},
            {"dtype": "int8"},
            {"remarks": ["x" * 2000]},
            {"unknown": 1},
        )
    ):
        path = tmp_path / f"{number}.safetensors"
        extra = {"origin": {**origin, **wrong}}
        save_potential(
            path, fake_package.original(), config, fake_package.STATISTICS, extra
        )
        with pytest.raises(CheckpointError, match="unreadable header: origin"):
            read_header(path)
    assert parse_origin(None) is None
    assert parse_origin(origin) is not None


def test_a_payload_is_named_in_one_message_and_not_run(convert, tmp_path):
    run = Call(Name("posix", "mkdir"), (str(tmp_path / "marker"),))
    content = program({"package": "fake", "weights": run})
    write_archive(tmp_path / "b.fake", content)

    status, text = convert(file="b.fake")

    assert status == 1
    assert text.startswith("error: b.fake: the file names 'posix.mkdir'")
    assert text.endswith("Nothing of it was run")
    assert not (tmp_path / "marker").exists()
