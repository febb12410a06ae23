"""The benchmark of learning from Hessians, in small."""

import json

import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule

from benchmarks import hessian_learning as benchmark


@pytest.fixture
def folder(tmp_path):
    """Eight bonds, each with the Hessian of a spring."""
    frames, hessians = [], {}
    for n in range(8):
        atoms = molecule("OH" if n % 3 else "CO")
        atoms.rattle(0.02, seed=n)
        d = atoms.positions[1] - atoms.positions[0]
        d /= np.linalg.norm(d)
        block = 20 * np.outer(d, d)
        hessians[f"{n:03d}"] = np.block([[block, -block], [-block, block]])
        atoms.info["REF_energy"] = -1.0 * n
        atoms.arrays["REF_forces"] = np.zeros((2, 3))
        frames.append(atoms)
    ase.io.write(tmp_path / "train.extxyz", frames, format="extxyz")
    np.savez(tmp_path / "hessians_train.npz", **hessians)
    return tmp_path


def test_every_fourth_structure_is_held_out(folder):
    train, test = benchmark.split(folder)

    assert [e.source.rpartition("#")[2] for e in test] == ["0", "4"]
    assert len(train) == 6


def test_the_record_holds_all_three_courses(folder, monkeypatch):
    output = folder / "report.json"
    arguments = ["--minutes", "0.002", "--channels", "2", "--json", str(output)]
    backend = ["--backend", "clebsch_gordan", "--threads", str(torch.get_num_threads())]
    monkeypatch.setattr("sys.argv", ["script", str(folder), *arguments, *backend])

    benchmark.main()

    report = json.loads(output.read_text())
    for name in ("A_energy_forces", "B_with_hessians", "C_direct_head"):
        assert [r["share_of_budget"] for r in report[name]["course"]] == [
            0.25,
            0.5,
            0.75,
            1.0,
        ]
    assert report["time"]["ratio"] > 0
    assert report["structures"] == {"train": 6, "held_out": 2}
