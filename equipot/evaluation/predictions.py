"""Output of predictions as extended XYZ."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equipot.data.structure import Structure
from equipot.evaluation.results import Evaluation
from equipot.storage.atomic_file import make_folder
from equipot.storage.frame_file import write_frames
from equipot.storage.provenance import ENERGY_SPREAD, FORCES_SPREAD, Origin, stamp


def write_predictions(
    path: Path,
    structures: Sequence[Structure],
    evaluation: Evaluation,
    origin: Origin | None = None,
) -> None:
    """Write an extxyz file with predictions and labels.

    Args:
        path: File to write; missing folders are created.
        structures: Evaluated structures, in the order of the evaluation.
        evaluation: Predictions, written as ``equipot_energy``, ``equipot_forces`` and
            ``equipot_stress`` in eV and Å, and labels with the prefix ``REF_``; missing
            values are left out. For a committee, ``energy_spread`` (eV) and
            ``forces_spread`` (eV/Å, one number per atom) are added.
        origin: Provenance, written to ``info`` of every frame.
    """
    make_folder(path.parent)
    frames = [_frame(s, evaluation, n) for n, s in enumerate(structures)]
    for frame in frames:
        stamp(frame.info, {} if origin is None else origin.info())
    write_frames(path, frames)


def _frame(structure: Structure, evaluation: Evaluation, n: int) -> Atoms:
    atoms = structure.atoms.copy()
    rows = evaluation.atoms_of(n)
    for prefix, name in (("REF", "reference"), ("equipot", "predicted")):
        energy = getattr(evaluation.energy, name)[n]
        forces = getattr(evaluation.forces, name)[rows]
        stress = getattr(evaluation.stress, name)[n]
        _put(atoms.info, f"{prefix}_energy", energy)
        _put(atoms.arrays, f"{prefix}_forces", forces)
        _put(atoms.info, f"{prefix}_stress", stress)
    if evaluation.spread is not None:
        atoms.info[ENERGY_SPREAD] = evaluation.spread.energy[n]
        atoms.arrays[FORCES_SPREAD] = evaluation.spread.forces[rows]
    return atoms


def _put(
    place: dict[str, object], key: str, value: float | Float[np.ndarray, "..."]
) -> None:
    """Store a value if it is not missing."""
    place.pop(key, None)
    if np.isfinite(value).all():
        place[key] = value
