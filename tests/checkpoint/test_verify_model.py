"""`equipot.verify_model`: what `equipot verify` knows, as an object and as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

import equipot
from equipot.checkpoint.file import read_header, save_potential
from equipot.checkpoint.verification import domain_limits, verify_model
from equipot.config.model import NequIPConfig
from equipot.models import build_potential
from equipot.storage.tensor_file import digest
from equipot.tensor_products import BACKENDS
from equipot.verify.meaning import MEANING
from tests.broken_backends import WrongCoupling
from tests.potentials import random_potential, statistics_of

CONFIG = NequIPConfig(
    cutoff=4.0,
    lmax=1,
    channels=2,
    num_layers=1,
    num_basis=4,
    radial_hidden=(4,),
    backend="clebsch_gordan",
)


@pytest.fixture(scope="module")
def structures():
    crystal = bulk("Si", cubic=False)
    crystal.rattle(0.1, seed=1)
    water = molecule("H2O")
    water.rattle(0.1, seed=2)
    return [crystal, water]


@pytest.fixture(scope="module")
def model(tmp_path_factory, structures):
    """A file with structures, whose pairs are never used closer than 2.5 Å."""
    path = tmp_path_factory.mktemp("verified") / "model.safetensors"
    statistics = replace(
        statistics_of((1, 8, 14), 4.0),
        minimum_distances=dict.fromkeys(["H-H", "H-O", "O-O", "Si-Si"], 2.5),
    )
    potential = build_potential(CONFIG, statistics)
    save_potential(path, potential, CONFIG, statistics, samples=structures)
    return path


@pytest.fixture(scope="module")
def report(model):
    return verify_model(model, backends=["clebsch_gordan"], device="cpu")


def test_a_report_names_model_structures_and_machine(model, report):
    record = report.as_dict()

    assert report.passed
    assert report.failures == ()
    assert record["model_sha256"] == read_header(model)["sha256"]
    assert record["model"] == str(model)
    assert record["structures"] == "2 structures stored in the model file, 5 atoms"
    assert record["environment"]["equipot"] == equipot.__version__
    assert record["environment"]["processor"]
    assert "gpu" in record["environment"]
    assert record["device"] == "cpu"
    assert "all passed" in str(report)


def test_every_line_is_told_with_its_threshold_and_reason(report):
    record = json.loads(json.dumps(report.as_dict(), allow_nan=False))

    checks = record["potential"]["checks"] + record["backends"][0]["checks"]
    assert len(checks) == report.count
    for check in checks:
        assert check["passed"]
        assert check["relative"] <= check["tolerance"]
        assert check["reason"]
        assert check["name"] in MEANING


def test_all_that_is_promised_is_checked(report):
    assert [check.name for check in report.potential.checks] == [
        "translation",
        "large translation",
        "rotation",
        "reflection",
        "permutation",
        "periodic images",
        "equivalent unit cell",
        "left-handed cell",
        "size extensivity, two copies",
        "size extensivity, many copies",
        "batch independence",
        "padding beyond the cutoff",
        "periodic box with vacuum",
        "forces by finite differences",
        "stress by finite differences",
        "Hessian by finite differences",
        "work along a path",
        "Hessian symmetry",
        "independence of requested outputs",
        "sum of atomic energies",
        "Hessian-vector products",
        "work along an expansion",
        "smoothness inside the cutoff",
        "dt^2 scaling of NVE energy error",
        "smoothness at the cutoff",
        "dissociation limit",
        "short-range attraction, pairs",
        "short-range attraction, clusters",
        "bond-strength limits",
        "bond-strength limits",
        "overbinding of clusters",
        "isolated-atom energies",
        "neighbor-list cross-check",
        "repeatability",
        "repeatability of many calls",
        *["float32 precision"] * 5,
        *["frozen evaluation"] * 3,
        *["frozen evaluation in float32"] * 3,
    ]


def test_the_domain_ends_where_calculators_refuse(report):
    limits = {scan.pair: scan.limit for scan in report.potential.curves.dimers}

    # five percent closer than in training
    assert limits[1, 8] == limits[14, 14] == pytest.approx(0.95 * 2.5)
    # never seen: refused at any distance within the cutoff
    assert limits[8, 14] == 4.0
    assert domain_limits(statistics_of((1,), 4.0))(1, 1) == 4.0


def test_curves_reach_from_very_close_to_the_cutoff(report):
    for scan in report.potential.curves.dimers:
        assert scan.distances[0] == 0.3
        assert scan.distances[-1] == 4.0
        assert abs(scan.energies[-1]) < 1e-9
    at_cutoff = report.potential.curves.cutoff.curve
    assert at_cutoff.distances[0] < 4.0 < at_cutoff.distances[-1]


def test_a_potential_in_memory_brings_no_structures(structures):
    potential = random_potential(
        (1, 8, 14), lmax=0, num_layers=1, channels=2, dtype="float32"
    )

    with pytest.raises(ValueError, match="has no stored structures"):
        verify_model(potential)
    with pytest.raises(ValueError, match="no atoms to verify on"):
        verify_model(potential, [Atoms()])
    with pytest.raises(ValueError, match="structure 0 contains Au"):
        verify_model(potential, [Atoms("Au")])


def test_weights_identify_a_potential_without_a_file(structures, monkeypatch):
    monkeypatch.setitem(BACKENDS, "wrong", WrongCoupling)
    potential = random_potential((1, 8, 14), lmax=1, num_layers=1, channels=2)

    found = verify_model(potential, structures, backends=["wrong"], level="quick")

    assert found.model == ""
    assert found.sha256 == digest(potential.state_dict())
    with torch.no_grad():
        next(potential.parameters()).add_(1)
    assert found.sha256 != digest(potential.state_dict())
    assert not found.passed
    wrong = [line for line in found.failures if line.startswith("backend wrong: ")]
    assert any("clebsch_gordan: forces (float64) differs" in line for line in wrong)
    assert f"{len(found.failures)} of them FAILED" in str(found)
    assert found.as_dict()["failures"] == list(found.failures)


def test_it_is_what_the_package_exports(report):
    assert equipot.verify_model is verify_model
    assert isinstance(report, equipot.ModelReport)


def test_every_line_is_explained_in_the_documentation():
    page = (Path(__file__).parents[2] / "docs" / "verify.md").read_text("utf-8")
    table = [line for line in page.splitlines() if line.startswith("| ")]

    missing = [name for name in MEANING if not any(name in row for row in table)]

    assert missing == ["clebsch_gordan"]


def test_discontinuous_second_derivatives_are_noted():
    potential = random_potential(
        (1, 8), architecture="tensornet", num_layers=1, envelope="cosine"
    )

    report = verify_model(potential, [molecule("H2O")], backends=[], level="quick")

    (note,) = [n for n in report.potential.notes if "second derivative" in n]
    assert "at edge lengths of 4 Å" in note
