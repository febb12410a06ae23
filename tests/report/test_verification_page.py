"""The page of a verification: verdict, every number, plots, nothing from outside."""

import json
import re
from dataclasses import replace

import pytest
from ase.build import bulk, molecule

from equipot.checkpoint.verification import verify_model
from equipot.report.evaluation_page import certificate_sentence
from equipot.report.provenance import read_certificate
from equipot.report.verification_page import verdict, verification_page
from equipot.tensor_products.agreement import Difference
from tests.potentials import random_potential
from tests.report.labeled import about

SHA = "0123456789abcdef"


@pytest.fixture(scope="module")
def certificate():
    crystal = bulk("Si")
    crystal.rattle(0.1, seed=1)
    water = molecule("H2O")
    water.rattle(0.1, seed=2)
    potential = random_potential((1, 8, 14), lmax=0, num_layers=1, channels=2, zbl=True)
    return verify_model(
        potential,
        [crystal, water],
        backends=["clebsch_gordan", "so2"],
        level="quick",
    )


@pytest.fixture(scope="module")
def broken(certificate):
    """The same, with a NaN in one check of the potential."""
    first, *others = certificate.potential.checks
    bad = replace(first, difference=Difference(float("nan"), 1.0, 1e-9))
    return replace(
        certificate, potential=replace(certificate.potential, checks=(bad, *others))
    )


def without_style(page):
    return re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)


def test_every_check_has_its_row(certificate):
    page = without_style(verification_page(certificate))

    assert page.count(">passed</td>") == certificate.count
    assert "FAILED" not in page
    assert verdict(certificate) == f"All {certificate.count} checks passed."
    for check in certificate.potential.checks:
        assert check.name in page
        assert f'value="{check.difference.relative!r}"' in page


def test_a_failure_is_on_top_and_in_its_row(broken):
    page = without_style(verification_page(broken))

    assert "FAILED: 1 of" in page
    top, _, rest = page.partition("<main>")
    assert "potential: " in top.split('class="notices"')[1]
    assert rest.count('class="warn">FAILED<') == 1
    assert "var(--warn)" in rest
    assert "exceeded" in rest


def test_curves_are_drawn_for_every_pair(certificate):
    page = verification_page(certificate)

    for pair in ("H-H", "H-O", "H-Si", "O-O", "O-Si", "Si-Si"):
        assert f">{pair}<" in page
    for name in ("cutoff-energy", "cutoff-force", "cutoff-curvature", "drift"):
        assert f'id="{name}-' in page
    ratio = certificate.potential.curves.drift.largest
    assert f"ratio {ratio[0] / ratio[1]:.2f}" in page


def test_the_page_needs_nothing_else(certificate):
    page = verification_page(certificate)

    assert not re.search(r"(src|href)=.?https?:|@import|url\((?!#)", page)
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert page.startswith("<!DOCTYPE html>")


def test_it_says_what_it_holds_for(certificate):
    page = verification_page(certificate)

    assert certificate.sha256 in page
    assert str(certificate.environment["processor"]) in page
    assert str(certificate.environment["time"]).replace("T", " ") in page
    assert "2 structures, 5 atoms" in page


def left_beside(tmp_path, content):
    (tmp_path / "verification.json").write_text(content, encoding="utf-8")
    found = read_certificate(tmp_path / "model.safetensors")
    sentence, failures = certificate_sentence(about(certificate=found)) or ("", ())
    return " ".join((sentence, *failures))


def test_an_evaluation_tells_what_the_certificate_beside_the_model_says(
    tmp_path, certificate, broken
):
    def text(of, sha):
        return left_beside(tmp_path, json.dumps({**of.as_dict(), "model_sha256": sha}))

    assert read_certificate(tmp_path / "model.safetensors") is None
    assert certificate_sentence(about()) is None
    assert "All checks of equipot verify passed on 2 str" in text(certificate, SHA)
    assert "FAILED checks of equipot verify" in text(broken, SHA)
    assert "translation: " in text(broken, SHA)
    other = text(certificate, "feed" * 16)
    assert "belongs to another model (SHA-256 feedfeedfeed…)" in other
    assert "passed" not in other
    for damaged in ("{", "[]", "{}", '{"passed": true}'):
        assert "is not a certificate" in left_beside(tmp_path, damaged)
