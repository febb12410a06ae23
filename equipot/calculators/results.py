"""Results of a potential under the names of ASE."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.stress import full_3x3_to_voigt_6_stress

from equipot.models.committee import CommitteePrediction
from equipot.models.prediction import Prediction
from equipot.neighbors.cell import MIN_RELATIVE_VOLUME


def ase_results(prediction: Prediction) -> dict[str, Any]:
    """Results of one structure under ASE's names, and spreads of a committee.

    Args:
        prediction: Prediction for one structure.

    Raises:
        CalculationFailed: If a result is not finite.
    """
    energy = float(prediction.energy[0])
    results: dict[str, Any] = {
        "energy": energy,
        "free_energy": energy,
        "energies": prediction.energies.cpu().numpy(),
    }
    if prediction.forces is not None:
        results["forces"] = prediction.forces.double().cpu().numpy()
    if prediction.stress is not None:
        stress = prediction.stress[0].double().cpu().numpy()
        results["stress"] = full_3x3_to_voigt_6_stress(stress)
    if prediction.stresses is not None:
        stresses = prediction.stresses.double().cpu().numpy()
        results["stresses"] = full_3x3_to_voigt_6_stress(stresses)
    if isinstance(prediction, CommitteePrediction):
        results["energy_spread"] = float(prediction.energy_spread[0])
        if (spread := prediction.forces_spread) is not None:
            results["forces_spread"] = spread.double().cpu().numpy()
    bad = [name for name, value in results.items() if not np.isfinite(value).all()]
    if bad:
        raise CalculationFailed(not_finite(", ".join(bad)))
    return results


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
