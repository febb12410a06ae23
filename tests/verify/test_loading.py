"""Models on disk refuse a backend that computes something else, with numbers."""

import logging

import pytest
import torch

import equipot.checkpoint.file
from equipot.calculators import EquipotCalculator
from equipot.checkpoint.errors import CheckpointError
from equipot.checkpoint.file import (
    load_potential,
    read_header,
    read_samples,
    save_potential,
)
from equipot.config.model import NequIPConfig
from equipot.models import build_potential
from equipot.storage.tensor_file import read_tensor_file, write_tensor_file
from equipot.tensor_products import BACKENDS
from equipot.verify import BackendMismatchError
from tests.broken_backends import Wrapped, WrongGradient
from tests.potentials import statistics_of

CONFIG = NequIPConfig(
    cutoff=4.0,
    lmax=1,
    channels=4,
    num_layers=2,
    radial_hidden=(8,),
    backend="clebsch_gordan",
)
STATISTICS = statistics_of((1, 6, 8, 14), 4.0)


@pytest.fixture
def path(tmp_path, monkeypatch, structures):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "model.safetensors"
    potential = build_potential(CONFIG, STATISTICS)
    save_potential(path, potential, CONFIG, STATISTICS, samples=structures)
    return path


@pytest.fixture
def checks(monkeypatch):
    """Backends that were compared with the reference, in order."""
    seen = []
    check = equipot.checkpoint.file.check_backend

    def counted(potential, structures):
        seen.append(potential.backend)
        return check(potential, structures)

    monkeypatch.setattr(equipot.checkpoint.file, "check_backend", counted)
    return seen


def rewrite(path, **changes):
    header, tensors = read_tensor_file(path, "potential")
    header = {k: v for k, v in header.items() if k not in ("sha256", "kind")}
    write_tensor_file(path, "potential", {**header, **changes}, tensors)


@pytest.mark.parametrize(
    ("backend", "quantity"),
    [
        ("wrong_coupling", r"energy \(float32\)"),
        ("wrong_gradient", r"forces \(float32\)"),
        ("wrong_second_derivative", r"Hessian-vector \(float32\)"),
        ("wrong_in_float32", r"energy \(float32\)"),
        ("not_a_number", r"clebsch_gordan: .* differs by nan eV"),
    ],
)
def test_a_wrong_backend_is_refused_with_numbers(path, backend, quantity):
    with pytest.raises(BackendMismatchError, match=quantity):
        load_potential(path, backend=backend)
    with pytest.raises(BackendMismatchError, match=quantity):
        EquipotCalculator(path, backend=backend)


def test_the_check_can_be_left_out_explicitly(path):
    loaded = load_potential(path, backend="wrong_gradient", verify=False)

    assert loaded.backend == "wrong_gradient"
    calculator = EquipotCalculator(path, backend="wrong_gradient", verify=False)
    assert calculator.potential.backend == "wrong_gradient"


def test_a_backend_that_passed_is_not_checked_again(path, checks, caplog):
    with caplog.at_level(logging.INFO, "equipot"):
        load_potential(path, backend="right")
        load_potential(path, backend="right")

    assert checks == ["right"]
    assert "backend right agrees with clebsch_gordan on 2 structures" in caplog.text


def test_what_passed_is_remembered_for_that_model_arithmetic_and_code(
    path, checks, monkeypatch
):
    load_potential(path, backend="right")

    load_potential(path, backend="right", dtype="float64")
    rewrite(path, provenance={"seed": 1})
    load_potential(path, backend="right")
    monkeypatch.setitem(BACKENDS, "right", WrongGradient)
    with pytest.raises(BackendMismatchError):
        load_potential(path, backend="right")

    assert len(checks) == 4


def test_a_failure_is_not_remembered_as_a_pass(path):
    for _ in range(2):
        with pytest.raises(BackendMismatchError):
            load_potential(path, backend="wrong_gradient")


def test_the_reference_needs_no_check(path, checks):
    load_potential(path)
    load_potential(path, backend="clebsch_gordan")

    assert checks == []


def test_a_backend_that_the_model_was_trained_with_is_checked_on_this_machine(
    path, checks
):
    config = CONFIG.model_copy(update={"backend": "fused"})
    potential = build_potential(CONFIG, STATISTICS)
    save_potential(path, potential, config, STATISTICS)

    header = read_header(path)

    assert header["model"]["backend"] == "fused"
    assert header["backend_used"] == "clebsch_gordan"
    loaded = load_potential(path, backend="right")
    assert loaded.backend == "right"
    assert checks == ["right"]


def test_samples_survive_to_the_bit(path, structures):
    samples = read_samples(read_header(path))

    for sample, atoms in zip(samples, structures, strict=True):
        assert (sample.positions == atoms.positions).all()
        assert (sample.cell.array == atoms.cell.array).all()
        assert (sample.numbers == atoms.numbers).all()
        assert (sample.pbc == atoms.pbc).all()


def test_models_of_format_1_load_and_are_checked_on_generated_structures(path, checks):
    header, tensors = read_tensor_file(path, "potential")
    new = ("sha256", "kind", "samples", "backend_used", "golden")
    old = {k: v for k, v in header.items() if k not in new}
    old["model"].pop("architecture")
    write_tensor_file(path, "potential", {**old, "format_version": 1}, tensors)

    load_potential(path, backend="right")

    assert checks == ["right"]
    upgraded = read_header(path)
    assert upgraded["backend_used"] == "clebsch_gordan"
    crystal, cluster = read_samples(upgraded)
    assert crystal.pbc.all()
    assert not cluster.pbc.any()
    with pytest.raises(BackendMismatchError, match="Hessian-vector"):
        load_potential(path, backend="wrong_second_derivative")


@pytest.mark.parametrize(
    "samples", [[{"numbers": [1]}], [{"positions": 0}], "many", [None]]
)
def test_damaged_samples_are_an_error_of_the_file(path, samples):
    rewrite(path, samples=samples)

    with pytest.raises(CheckpointError, match="unreadable header: sample"):
        load_potential(path)


def test_a_model_of_a_backend_yet_to_come_loads_under_another(path):
    header = read_header(path)
    rewrite(path, model={**header["model"], "backend": "quantum"})

    with pytest.raises(CheckpointError, match="has an unreadable header"):
        load_potential(path)
    assert load_potential(path, backend="clebsch_gordan").dtype == torch.float32


def test_auto_chooses_says_so_and_is_checked(path, monkeypatch, caplog):
    for name in [n for n in BACKENDS if n not in ("clebsch_gordan", "right")]:
        monkeypatch.delitem(BACKENDS, name)
    header = read_header(path)
    rewrite(path, model={**header["model"], "backend": "auto"})

    with caplog.at_level(logging.INFO, "equipot"):
        loaded = load_potential(path)

    assert loaded.backend in ("clebsch_gordan", "right")
    assert type(loaded.backbone.layers[0].tensor_product) is BACKENDS[loaded.backend]
    assert f"backend auto is {loaded.backend} on this machine" in caplog.text
    assert BACKENDS["right"] is Wrapped
