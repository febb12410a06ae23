"""`equipot evaluate` of a committee: its mean beside the labels, and its spread."""

import json

import numpy as np
import pytest
from ase.io import read
from test_evaluate_command import CONFIG, data, run  # noqa: F401

from equipot.calculators import EquipotCalculator
from equipot.checkpoint.file import save_potential
from equipot.models import build_potential
from tests.potentials import statistics_of
from tests.report.labeled import CUTOFF


@pytest.fixture
def committee(tmp_path):
    statistics = statistics_of((1, 8, 14), CUTOFF)
    folder = tmp_path / "runs"
    for seed in range(3):
        path = folder / f"member_{seed + 1}" / "model.safetensors"
        path.parent.mkdir(parents=True)
        potential = build_potential(CONFIG, statistics, seed=seed)
        save_potential(path, potential, CONFIG, statistics)
    return folder


def test_the_mean_is_evaluated_and_the_spread_written(tmp_path, committee, data):  # noqa: F811
    files = {name: tmp_path / name for name in ("r.html", "m.json", "p.xyz")}

    result = run(
        committee,
        data,
        *("--report", files["r.html"]),
        *("--json", files["m.json"]),
        *("--output", files["p.xyz"]),
    )

    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    assert "Committee of 3: the standard deviation of the force on an atom" in words
    page = files["r.html"].read_text(encoding="utf-8")
    assert "Committee of 3: the standard deviation of the force" in page
    models = sorted(committee.glob("*/model.safetensors"))
    record = json.loads(files["m.json"].read_text(encoding="utf-8"))
    assert list(record["further_members_sha256"]) == [str(m) for m in models[1:]]
    frames = read(files["p.xyz"], ":")
    calculator = EquipotCalculator(models, on_extrapolation="ignore")
    largest = 0.0
    for atoms in frames:
        forces = calculator.get_property("forces", atoms)
        spread = calculator.results["forces_spread"]
        largest = max(largest, spread.max())
        np.testing.assert_allclose(atoms.arrays["equipot_forces"], forces, atol=1e-7)
        np.testing.assert_allclose(atoms.arrays["forces_spread"], spread, atol=1e-7)
        assert atoms.info["energy_spread"] == pytest.approx(
            calculator.results["energy_spread"]
        )
    assert record["spread"]["members"] == 3
    assert record["spread"]["forces_max"] == pytest.approx(largest)


def test_members_for_other_elements_are_refused(committee, data):  # noqa: F811
    statistics = statistics_of((1, 8), CUTOFF)
    path = committee / "member_2" / "model.safetensors"
    save_potential(path, build_potential(CONFIG, statistics), CONFIG, statistics)

    result = run(committee, data)

    assert result.exit_code == 1
    assert "must agree in elements" in " ".join(result.output.split())
