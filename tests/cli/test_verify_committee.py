"""`equipot verify` of a committee: every member, and the mean that is used."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from equipot.checkpoint.certificate import verify_committee
from equipot.checkpoint.file import save_potential
from equipot.cli.main import app
from equipot.cli.models import model_files
from equipot.config.model import NequIPConfig
from equipot.models import build_potential
from equipot.models.committee import Committee
from equipot.report import verification
from equipot.report.verification import run_verification
from tests.potentials import statistics_of

CONFIG = NequIPConfig(
    cutoff=3.5,
    lmax=1,
    channels=4,
    num_layers=1,
    radial_hidden=(8,),
    readout_hidden=4,
    zbl=True,
    dtype="float64",
)


@pytest.fixture
def committee(tmp_path, ethanol):
    statistics = statistics_of((1, 6, 8), CONFIG.cutoff)
    statistics.minimum_distances.update(
        {pair: 2.5 for pair in ("H-H", "C-H", "C-C", "C-O", "H-O", "O-O")}
    )
    for seed in range(2):
        path = tmp_path / f"member_{seed + 1}" / "model.safetensors"
        path.parent.mkdir()
        potential = build_potential(CONFIG, statistics, seed=seed)
        save_potential(path, potential, CONFIG, statistics, samples=[ethanol])
    return tmp_path


def test_members_and_mean_are_verified(committee, tmp_path):
    record, page = tmp_path / "verification.json", tmp_path / "page.html"

    passed = run_verification(
        model_files(committee),
        backend="so2",
        json_file=record,
        report_file=page,
        level="quick",
    )

    assert passed
    found = json.loads(record.read_text(encoding="utf-8"))
    assert found["passed"]
    assert len(found["members"]) == 2
    assert found["mean"]["model"].startswith("mean of 2 members")
    assert len(found["mean"]["model_sha256"].split()) == 2
    assert found["mean"]["potential"]["checks"]
    assert "mean of 2 members" in page.read_text(encoding="utf-8")


def test_the_exit_status_of_a_committee_is_that_of_its_worst(committee, monkeypatch):
    asked = []

    def verify(models, files, **options):
        asked.append((models, options["level"]))
        return False

    monkeypatch.setattr(verification, "run_verification", verify)

    result = CliRunner().invoke(app, ["verify", str(committee), "--thorough"])

    assert result.exit_code == 1
    assert asked == [(model_files(committee), "thorough")]


def test_a_mean_that_is_wrong_fails(committee, monkeypatch):
    honest = Committee.forward

    def doubled(self, graph, *arguments, **options):
        found = honest(self, graph, *arguments, **options)
        return (
            found if found.forces is None else replace(found, forces=2 * found.forces)
        )

    monkeypatch.setattr(Committee, "forward", doubled)

    found = verify_committee(
        sorted(committee.glob("*/model.safetensors")), level="quick"
    )

    assert not found.passed
    assert any("forces" in failure for failure in found.failures)
