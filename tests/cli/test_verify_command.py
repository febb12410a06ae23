"""`equipot verify`: what it prints, what it writes, and how it exits."""

import json

import pytest
from ase.io import write
from typer.testing import CliRunner

from equipot.checkpoint.file import read_header, save_potential
from equipot.cli.main import app
from equipot.config.model import NequIPConfig
from equipot.models import build_potential
from equipot.tensor_products import BACKENDS
from equipot.verify.inspection import LEVELS
from tests.broken_backends import Wrapped, WrongSecondDerivative
from tests.potentials import statistics_of

CONFIG = NequIPConfig(
    cutoff=4.0,
    lmax=1,
    channels=4,
    num_layers=2,
    radial_hidden=(8,),
    backend="clebsch_gordan",
)


@pytest.fixture(autouse=True)
def backends(monkeypatch):
    """The reference, one that is right, one that is wrong, one that cannot."""
    for name in [n for n in BACKENDS if n not in ("clebsch_gordan", "spherical_grid")]:
        monkeypatch.delitem(BACKENDS, name)
    monkeypatch.setitem(BACKENDS, "right", Wrapped)


@pytest.fixture
def quick(monkeypatch):
    """Checks of the potential as after training: the tests are about backends."""
    monkeypatch.setitem(LEVELS, "standard", LEVELS["quick"])


@pytest.fixture
def wrong(monkeypatch):
    """A backend whose second derivatives are wrong."""
    monkeypatch.setitem(BACKENDS, "wrong", WrongSecondDerivative)


@pytest.fixture
def model(tmp_path, ethanol, silica):
    path = tmp_path / "model.safetensors"
    statistics = statistics_of((1, 6, 8, 14), 4.0)
    potential = build_potential(CONFIG, statistics)
    save_potential(path, potential, CONFIG, statistics, samples=[ethanol, silica])
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["verify", *map(str, arguments)])


def words(result):
    return " ".join(result.output.split())


def test_all_backends_that_can_compute_the_model_are_verified(model):
    result = run(model)

    assert result.exit_code == 0, result.output
    text = words(result)
    assert "on 2 structures stored in the model file, 11 atoms" in text
    assert "right, compared with clebsch_gordan, cpu" in text
    assert "clebsch_gordan, reference, cpu" in text
    assert "Hessian-vector reference, float32" in text
    assert "Hessian-vector finite differences" in text
    assert "not verified: spherical_grid: a product of functions" in text
    assert "clebsch_gordan: passed, 3 checks" in text
    assert "right: passed, 15 checks" in text
    assert "10 times the rounding error of the reference" in text
    assert max(map(len, result.output.splitlines()[1:])) <= 80


def test_a_wrong_backend_fails_by_name_and_number(model, quick, wrong, tmp_path):
    file, page = tmp_path / "new" / "out.json", tmp_path / "new" / "out.html"

    result = run(model, "--backend", "wrong", "--json", file, "--report", page)

    assert result.exit_code == 1
    text = words(result)
    assert "FAIL" in text
    assert "wrong: FAILED: Hessian-vector, clebsch_gordan, float32" in text
    assert "FAILED: forces" not in text
    record = json.loads(file.read_text(encoding="utf-8"))
    assert record["passed"] is False
    (found,) = record["backends"]
    failed = [c for c in found["checks"] if not c["passed"]]
    assert {c["quantity"] for c in failed} == {"Hessian-vector"}
    assert all(c["relative"] > c["tolerance"] for c in failed)
    assert record["model_sha256"] == read_header(model)["sha256"]
    assert f": FAILED: {len(record['failures'])} of them" in text
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert f"FAILED: {len(record['failures'])} of" in text
    assert f"wrote {page}" in result.output


def test_one_wrong_backend_among_others_is_a_failure(model, quick, wrong):
    result = run(model)

    assert result.exit_code == 1
    assert "right: passed" in words(result)
    assert "wrong: FAILED" in words(result)


def test_structures_of_the_user_take_the_place_of_the_model_s(
    model, quick, tmp_path, ethanol
):
    file = tmp_path / "many.xyz"
    write(file, [ethanol] * 5, format="extxyz")

    result = run(model, file, "--backend", "right", "--dtype", "float64")

    assert result.exit_code == 0, result.output
    assert "on 5 structures of" in words(result)
    assert "reference, float64" in words(result)
    assert "reference, float32" not in words(result)
    assert "stress is not checked" not in words(result)


def test_old_models_are_verified_on_generated_structures(quick, tmp_path):
    path = tmp_path / "old.safetensors"
    statistics = statistics_of((8, 14), 4.0)
    save_potential(path, build_potential(CONFIG, statistics), CONFIG, statistics)

    result = run(path, "--backend", "right")

    assert result.exit_code == 0, result.output
    assert "2 structures generated in the domain (none stored), 16 atoms" in words(
        result
    )


def test_auto_names_the_backend_and_verifies_it(model, quick):
    result = run(model, "--backend", "auto")

    assert result.exit_code == 0, result.output
    assert "backend auto is" in words(result)
    assert "passed" in words(result)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "warp"], "unknown tensor-product backend 'warp'; choose one of"),
        (["--backend", "spherical_grid"], "choose weighting='per_degree'"),
        (["no.xyz"], "no such file: no.xyz"),
        (["--dtype", "half"], "must be float32 or float64, got 'half'"),
    ],
)
def test_errors_are_one_message(model, arguments, message):
    result = run(model, *arguments)

    assert result.exit_code == 1
    assert message in words(result)
    assert result.stderr.startswith("error: ")


def test_unknown_elements_are_refused(model, tmp_path, silica):
    silica.symbols[0] = "Au"
    file = tmp_path / "gold.xyz"
    write(file, silica, format="extxyz")

    result = run(model, file)

    assert result.exit_code == 1
    assert "Au" in words(result)


def test_info_tells_what_a_backend_can_do_here(model):
    def info(backend):
        result = CliRunner().invoke(app, ["info", str(model), "--backend", backend])
        return result.exit_code, words(result)

    assert info("right")[1].startswith("backend right supports this model here")
    assert (
        "spherical_grid does not support this model here: a p"
        in info("spherical_grid")[1]
    )
    assert info("auto")[1].startswith("backend auto is ")
    assert info("warp")[0] == 1


def test_info_tells_backend_and_samples(model):
    result = CliRunner().invoke(app, ["info", str(model)])

    assert "backend clebsch_gordan" in words(result)
    assert (
        "test structures 2 structures, 11 atoms (stored for equipot verify)"
        in words(result)
    )


def test_doctor_tells_what_is_missing_and_where_choices_are(monkeypatch):
    import equipot.tensor_products

    monkeypatch.setattr(
        equipot.tensor_products,
        "unavailable",
        lambda name, device: "run make" if name == "right" else None,
    )

    result = CliRunner().invoke(app, ["doctor"])

    assert "right not available: run make" in words(result)
    assert "auto fastest backend; choices are cached in" in words(result)
