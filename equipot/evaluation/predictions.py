"""Predictions written beside the structures that they are for."""

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
        path: File to write; missing folders are made.
        structures: Those that were evaluated, in their order.
        evaluation: Predictions are written as ``equipot_energy``, ``equipot_forces``
            and ``equipot_stress`` in eV and Å, labels under the same names with
            ``REF_``; what is absent is left out. Of a committee there are
            ``energy_spread`` (eV) and ``forces_spread`` (eV/Å, one number per atom).
        origin: Named in ``info`` of every frame.
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
    """Store a value that is there, and nothing in the place of one that is not."""
    place.pop(key, None)
    if np.isfinite(value).all():
        place[key] = value
