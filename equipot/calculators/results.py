"""Results of a potential under the names of ASE."""

import math
from collections.abc import Collection
from typing import Any, Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.stress import full_3x3_to_voigt_6_stress

from equipot.models.committee import CommitteePrediction
from equipot.models.prediction import Output, Prediction
from equipot.neighbors.cell import MIN_RELATIVE_VOLUME

VOIGT: Final = np.array([0, 4, 8, 5, 2, 1])
"""Position in a matrix of its Voigt components xx yy zz yz xz xy."""
TRANSPOSED_VOIGT: Final = np.array([0, 4, 8, 7, 6, 3])


def ase_results(prediction: Prediction) -> dict[str, Any]:
    """Results of one structure under ASE's names, and spreads of a committee.

    Args:
        prediction: Prediction for one structure.

    Raises:
        CalculationFailed: If a result is not finite.
    """
    energy = prediction.energy.item()
    results: dict[str, Any] = {
        "energy": energy,
        "free_energy": energy,
        "energies": prediction.energies.cpu().numpy(),
    }
    if prediction.forces is not None:
        results["forces"] = prediction.forces.double().cpu().numpy()
    if prediction.stress is not None:
        stress = prediction.stress.double().cpu().numpy().reshape(9)
        results["stress"] = (stress[VOIGT] + stress[TRANSPOSED_VOIGT]) / 2
    if prediction.stresses is not None:
        stresses = prediction.stresses.double().cpu().numpy()
        results["stresses"] = full_3x3_to_voigt_6_stress(stresses)
    if isinstance(prediction, CommitteePrediction):
        results["energy_spread"] = float(prediction.energy_spread[0])
        if (spread := prediction.forces_spread) is not None:
            results["forces_spread"] = spread.double().cpu().numpy()
    bad = [name for name, value in results.items() if not _is_finite(value)]
    if bad:
        raise CalculationFailed(not_finite(", ".join(bad)))
    return results


def _is_finite(value: float | np.ndarray) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return bool(np.isfinite(value).all())


def not_finite(names: str) -> str:
    """Message for results that are not finite.

    Args:
        names: Names of these results.
    """
    return (
        f"the potential returned {names} with values that are not finite; the "
        "structure is far from the training set, or the model is damaged"
    )


def has_stress(atoms: Atoms) -> bool:
    """Whether a structure has a stress: a periodic direction and a volume."""
    return bool(atoms.pbc.any()) and has_volume(atoms)


def has_volume(atoms: Atoms) -> bool:
    """Whether the three lattice vectors are linearly independent."""
    lengths = np.linalg.norm(atoms.cell.array, axis=1)
    return bool(atoms.cell.volume > MIN_RELATIVE_VOLUME * lengths.prod())


def requested_outputs(properties: Collection[str], *, with_stress: bool) -> set[Output]:
    """Outputs of a potential for properties under ASE's names.

    Args:
        properties: Names of properties.
        with_stress: Whether the structure has a stress.
    """
    outputs: set[Output] = {"energy"}
    wanted = set(properties)
    if wanted & {"forces", "stress", "stresses"}:
        outputs.add("forces")
    if with_stress and "stress" in wanted:
        outputs.add("stress")
    if with_stress and "stresses" in wanted:
        outputs.add("stresses")
    return outputs
