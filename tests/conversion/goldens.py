"""Predictions of original packages, where ../shared/weights is at hand."""

from pathlib import Path

import ase.io
import numpy as np
import pytest

from equipot.conversion.sources import SOURCES
from equipot.models.build import build_potential
from equipot.neighbors import build_graph

WEIGHTS = Path(__file__).parents[2] / "../shared/weights"
ENERGY_EV = 1e-8
"""Largest error per atom of an original in float64."""
FORCE_EV_A = 1e-7
STRESS_EV_A3 = 1e-8


def assert_golden(source: str, file: str, golden: str, backend: str) -> None:
    """Compare a converted model with the predictions of the original, frame by frame.

    Args:
        source: Name in `SOURCES`.
        file: Model, relative to the folder of weights.
        golden: Name of the predictions.
        backend: Of the tensor products.
    """
    if not (WEIGHTS / file).exists():
        pytest.skip("../shared/weights is not beside this repository")
    converted = SOURCES[source].read(WEIGHTS / file, None)
    update = {"dtype": "float64", "backend": backend}
    config = converted.config.model_copy(update=update)
    potential = build_potential(config, converted.statistics)
    potential.load_state_dict(dict(converted.weights))
    potential.eval().requires_grad_(False)
    frames = ase.io.read(WEIGHTS / "goldens" / f"{golden}.extxyz", ":")
    assert len(frames) > 10
    for atoms in frames:
        stressed = "REF_stress" in atoms.info
        prediction = potential(
            build_graph(atoms, potential.cutoff),
            ("energy", "forces", "stress") if stressed else ("energy", "forces"),
        )
        name = str(atoms.info.get("name"))
        energy = (prediction.energy.item() - atoms.info["REF_energy"]) / len(atoms)
        assert abs(energy) < ENERGY_EV, name
        forces = prediction.forces.numpy() - atoms.arrays["REF_forces"]
        assert np.abs(forces).max() < FORCE_EV_A, name
        if stressed:
            expected = np.reshape(atoms.info["REF_stress"], (3, 3))
            stress = prediction.stress[0].numpy() - expected
            assert np.abs(stress).max() < STRESS_EV_A3, name
