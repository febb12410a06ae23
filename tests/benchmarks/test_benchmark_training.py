"""Times of epochs, and differences of losses."""

import json

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from benchmarks import training as benchmark


def history(seconds, losses):
    return [
        {"seconds": s, "train_loss": loss, "valid_loss": 2 * loss}
        for s, loss in zip(seconds, losses, strict=True)
    ]


REFERENCE = history([10.0, 18.0, 26.0], [1.0, 0.5, 0.25])


def test_seconds_of_a_run_become_those_of_its_epochs():
    assert benchmark.epoch_seconds(REFERENCE) == [10.0, 8.0, 8.0]


def test_speed_is_that_of_the_median_epoch():
    fast = history([3.0, 5.0, 7.0], [1.0, 0.5, 0.25])

    row = benchmark.summarize("fused", fast, REFERENCE)

    assert row["s per epoch"] == 2.0
    assert row["speed"] == 4.0
    assert row["loss difference"] == 0.0


def test_losses_are_compared_epoch_by_epoch():
    other = history([3.0, 5.0, 7.0], [1.0, 0.5 * 1.01, 0.25])

    difference = benchmark.largest_difference(other, REFERENCE)

    assert difference == pytest.approx(0.01)


def test_runs_of_different_length_are_not_compared():
    with pytest.raises(ValueError, match="argument 2"):
        benchmark.largest_difference(REFERENCE[:2], REFERENCE)


@pytest.mark.slow
def test_backends_are_trained_on_the_same_structures(tmp_path, monkeypatch):
    frames = []
    for seed in range(12):
        atoms = molecule("H2O")
        atoms.rattle(0.05, seed=seed)
        atoms.info["REF_energy"] = -2000.0 + 0.1 * seed
        atoms.arrays["REF_forces"] = np.zeros((3, 3))
        frames.append(atoms)
    isolated = [
        Atoms(s, info={"REF_energy": e}) for s, e in (("H", -13.0), ("O", -2000.0))
    ]
    for atoms in isolated:
        atoms.info["config_type"] = "IsolatedAtom"
        atoms.arrays["REF_forces"] = np.zeros((1, 3))
    ase.io.write(tmp_path / benchmark.TRAIN, frames)
    ase.io.write(tmp_path / benchmark.ISOLATED, isolated)
    file = tmp_path / "out.json"
    command = ["program", str(tmp_path), "--epochs", "2", "--backends", "so2"]
    command += ["--threads", str(torch.get_num_threads()), "--dtype", "float64"]
    monkeypatch.setattr("sys.argv", [*command, "--json", str(file)])

    benchmark.main()

    reference, so2 = json.loads(file.read_text(encoding="utf-8"))["backends"]
    assert reference["speed"] == 1.0
    assert so2["loss difference"] < 1e-8
