"""Files that mace-torch wrote, against predictions of that package in float64.

Files and predictions are not part of the repository; see `SHARED`.
"""

import json
import os
from pathlib import Path

import ase.io
import numpy as np
import pytest

from equipot.conversion.convert import build, find_source, read_model
from equipot.neighbors import build_graph

SHARED = Path(os.environ.get("EQUIPOT_SHARED", Path(__file__).parents[3] / "shared"))
WEIGHTS = SHARED / "weights"
NAMES = [
    "mace01", "mace02_com1", "mace02_com2", "mace02_com3", "random_mp0_like",
    "random_off_like", "random_mpa_like", "random_scalar", "random_l2",
]  # fmt: skip


@pytest.mark.skipif(not WEIGHTS.is_dir(), reason="needs the models in ../shared")
@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_those_of_the_package(name, record_property):
    (path,) = WEIGHTS.glob(f"mace_*/{name}.model")
    frames = ase.io.read(WEIGHTS / "goldens" / f"{name}.extxyz", ":")
    assert json.loads((WEIGHTS / "goldens" / f"{name}.json").read_text())

    potential = build(read_model(path, find_source(path)))

    energy = forces = stress = 0.0
    for atoms in frames:
        found = potential(build_graph(atoms, potential.cutoff))
        error = abs(found.energy.item() - atoms.info["REF_energy"]) / len(atoms)
        energy = max(energy, error)
        difference = found.forces.numpy() - atoms.arrays["REF_forces"]
        forces = max(forces, np.abs(difference).max())
        if "REF_stress" in atoms.info:
            expected = np.reshape(atoms.info["REF_stress"], (3, 3))
            stress = max(stress, np.abs(found.stress[0].numpy() - expected).max())
    record_property(
        "measured",
        f"{name}: {len(frames)} structures, largest differences {energy:.0e} eV/atom, "
        f"{forces:.0e} eV/Å, {stress:.0e} eV/Å^3",
    )
    assert energy < 1e-10
    assert forces < 1e-10
    assert stress < 1e-10
