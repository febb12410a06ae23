"""Errors of Hessians: elements, eigenvalues and lowest mode."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from ase.data import atomic_masses
from jaxtyping import Bool, Float, Int

Matrix = Float[np.ndarray, "rows rows"]
MIN_ROTATION_NORM = 1e-3
"""Norm of the displacements of a rotation, relative to the largest, below which the
structure is linear along its axis."""


@dataclass(frozen=True)
class HessianErrors:
    """Errors of the Hessian of one structure, or their means over structures."""

    mae: float
    """Mean absolute error of all elements in eV/Å^2."""
    eigenvalue_mae: float
    """Mean absolute error of the eigenvalues, in ascending order, in eV/Å^2."""
    lowest_mae: float
    """Absolute error of the lowest eigenvalue in eV/Å^2."""
    overlap: float
    """Absolute cosine between the lowest modes of the mass-weighted Hessians, without
    translations and, for non-periodic structures, without rotations (Eckart)."""


def compare_hessians(
    predicted: Matrix,
    reference: Matrix,
    positions: Float[np.ndarray, "atoms 3"],
    numbers: Int[np.ndarray, " atoms"],
    pbc: Bool[np.ndarray, " 3"],
) -> HessianErrors:
    """Errors of one structure, which must have at least one vibration.

    Args:
        predicted: Predicted Hessian in eV/Å^2.
        reference: Reference Hessian in eV/Å^2.
        positions: Positions in Å.
        numbers: Atomic numbers; standard masses are used.
        pbc: Periodic directions.
    """
    masses = atomic_masses[numbers]
    basis = vibrations(positions, masses, rotations=not pbc.any())
    root = np.repeat(masses, 3) ** -0.5
    modes = []
    for hessian in (predicted, reference):
        weighted = hessian * root[:, None] * root
        _, vectors = np.linalg.eigh(basis.T @ weighted @ basis)
        modes.append(basis @ vectors[:, 0])
    error = np.linalg.eigvalsh(predicted) - np.linalg.eigvalsh(reference)
    return HessianErrors(
        mae=float(np.abs(predicted - reference).mean()),
        eigenvalue_mae=float(np.abs(error).mean()),
        lowest_mae=float(np.abs(error[0])),
        overlap=float(min(abs(modes[0] @ modes[1]), 1.0)),
    )


def mean_errors(errors: Sequence[HessianErrors]) -> HessianErrors:
    """Unweighted means over structures.

    Raises:
        ValueError: If there are no structures.
    """
    if not errors:
        raise ValueError("no structure has a reference Hessian")
    return HessianErrors(
        **{
            field.name: float(np.mean([getattr(e, field.name) for e in errors]))
            for field in fields(HessianErrors)
        }
    )


def vibrations(
    positions: Float[np.ndarray, "atoms 3"],
    masses: Float[np.ndarray, " atoms"],
    *,
    rotations: bool,
) -> Float[np.ndarray, "rows modes"]:
    """Orthonormal basis of mass-weighted internal displacements.

    Args:
        positions: Positions in Å.
        masses: Masses in any unit.
        rotations: Whether rotations are projected out in addition to translations.
    """
    root = np.sqrt(masses)[:, None, None]
    axes = np.broadcast_to(np.eye(3), (len(masses), 3, 3))
    rigid = [(root * axes).transpose(1, 0, 2).reshape(3, -1)]
    if rotations:
        centered = positions - np.average(positions, axis=0, weights=masses)
        turned = np.cross(axes, centered[:, None])
        rigid.append((root * turned).transpose(1, 0, 2).reshape(3, -1))
    kept = []
    for group in rigid:
        # Along the principal axes, so that a linear molecule has two rotations.
        _, lengths, rows = np.linalg.svd(group, full_matrices=False)
        kept.append(rows[lengths > MIN_ROTATION_NORM * max(lengths[0], 1e-12)])
    space = np.concatenate(kept)
    _, lengths, rows = np.linalg.svd(space)
    return rows[len(lengths) :].T
