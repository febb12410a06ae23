"""Errors of Hessians: elements, eigenvalues, and the lowest mode."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from ase.data import atomic_masses
from jaxtyping import Bool, Float, Int

Matrix = Float[np.ndarray, "rows rows"]
SMALLEST_ROTATION = 1e-3
"""Length of the vector of a rotation, relative to the longest, below which the
structure lies on the axis and does not rotate about it."""


@dataclass(frozen=True)
class HessianErrors:
    """Errors of the Hessian of one structure, or means over structures."""

    mae: float
    """Mean absolute error of all entries in eV/Å^2."""
    eigenvalue_mae: float
    """Mean absolute error of the eigenvalues, in ascending order, in eV/Å^2."""
    lowest_mae: float
    """Absolute error of the lowest eigenvalue in eV/Å^2."""
    overlap: float
    """Absolute cosine between the lowest modes: of the mass-weighted Hessians without
    translations and, if nothing repeats, without rotations (Eckart)."""


def compare_hessians(
    predicted: Matrix,
    reference: Matrix,
    positions: Float[np.ndarray, "atoms 3"],
    numbers: Int[np.ndarray, " atoms"],
    pbc: Bool[np.ndarray, " 3"],
) -> HessianErrors:
    """Errors of one structure; it has to have a vibration.

    Args:
        predicted: In eV/Å^2.
        reference: In eV/Å^2.
        positions: In Å.
        numbers: Nuclear charges; standard masses are used.
        pbc: Which directions repeat.
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
    """Means over structures, each of the same weight.

    Raises:
        ValueError: If there is none.
    """
    if not errors:
        raise ValueError("there is no structure with a Hessian to compare with")
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
    """Orthonormal mass-weighted displacements that do not move the whole.

    Args:
        positions: In Å.
        masses: In any unit.
        rotations: Whether rotations are taken out as well.
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
        # along the principal axes, so that a linear molecule has two rotations
        _, lengths, rows = np.linalg.svd(group, full_matrices=False)
        kept.append(rows[lengths > SMALLEST_ROTATION * max(lengths[0], 1e-12)])
    space = np.concatenate(kept)
    _, lengths, rows = np.linalg.svd(space)
    return rows[len(lengths) :].T
