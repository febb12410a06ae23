"""Superposition of structures by periodic images, translations and rotations."""

from typing import Final

import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation
from ase.geometry import find_mic
from jaxtyping import Float

from equipot.workflows.bodies import bodies
from equipot.workflows.rigid_motion import DEFAULT_RANGE_A
from equipot.workflows.second_derivatives import pair_cutoff

MAX_CELL_DIFFERENCE_A: Final = 1e-4
"""Largest difference in Å between cell vectors that count as equal."""

MAX_FIXED_ATOM_DISTANCE_A: Final = 0.01
"""Largest distance in Å between positions of an atom that is fixed in both
structures."""


def superimposed(reference: Atoms, atoms: Atoms) -> Atoms:
    """Copy of a structure superimposed on a reference with the same atoms.

    Every atom is moved to its periodic image nearest to the reference. Structures
    without fixed atoms are also translated, and isolated molecules, also in a periodic
    box, are rotated.

    Args:
        reference: Reference structure; the cutoff of its calculator determines whether
            it is an isolated molecule.
        atoms: Structure to move, with the same atoms in the same order and the same
            cell.

    Raises:
        ValueError: If they are not the same atoms in the same order with the same
            masses, or differ in their cell, periodic directions or fixed atoms.
    """
    check_compatible(reference, atoms)
    there = atoms.copy()
    if reference.constraints:
        return _in_images(reference, there, np.zeros(3))
    if not reference.pbc.any():
        minimize_rotation_and_translation(reference, there)
        return there
    whole = [_molecule(s, pair_cutoff(reference)) for s in (reference, atoms)]
    first, second = whole
    if first is not None and second is not None:
        minimize_rotation_and_translation(first, second)
        there.positions = reference.positions + second.positions - first.positions
        return there
    return _in_images(reference, there, _common_shift(reference, there))


def check_compatible(reference: Atoms, atoms: Atoms) -> None:
    """Raise if no path can connect two structures.

    Raises:
        ValueError: As for `superimposed`.
    """
    if reference.get_chemical_symbols() != atoms.get_chemical_symbols():
        raise ValueError(
            "expected the same atoms in the same order at both ends, got "
            f"{reference.symbols} and {atoms.symbols}"
        )
    if not np.allclose(reference.get_masses(), atoms.get_masses(), atol=1e-3):
        raise ValueError(
            "expected the same masses at both ends, got different isotopes"
        )
    if (reference.pbc != atoms.pbc).any():
        raise ValueError(
            "expected the same periodic directions at both ends, got "
            f"pbc={reference.pbc.tolist()} and {atoms.pbc.tolist()}"
        )
    vectors = [s.cell.array[s.pbc] for s in (reference, atoms)]
    difference = np.abs(vectors[0] - vectors[1]).max(initial=0.0)
    if difference > MAX_CELL_DIFFERENCE_A:
        raise ValueError(
            f"expected the same cell at both ends, got vectors that differ by "
            f"{difference:.4f} Å: relax both in one cell"
        )
    held = [_fixed(s) for s in (reference, atoms)]
    if held[0] != held[1]:
        raise ValueError(
            "expected the same fixed atoms at both ends, got "
            f"{sorted(held[0])} and {sorted(held[1])}"
        )
    indices = sorted(held[0])
    apart = _nearest(atoms.positions - reference.positions, reference)[indices]
    distances = np.linalg.norm(apart, axis=1)
    if distances.max(initial=0.0) > MAX_FIXED_ATOM_DISTANCE_A:
        worst = indices[int(np.argmax(distances))]
        raise ValueError(
            f"expected fixed atoms at the same positions at both ends, got a distance "
            f"of {distances.max():.3f} Å for atom {worst}"
        )


def _fixed(atoms: Atoms) -> set[int]:
    indices: set[int] = set()
    for constraint in atoms.constraints:
        indices.update(np.asarray(constraint.get_indices()).tolist())
    return indices


def _molecule(atoms: Atoms, cutoff: float | None) -> Atoms | None:
    """Unwrapped molecule without a cell; None if the structure is not one molecule."""
    parts = bodies(atoms, DEFAULT_RANGE_A if cutoff is None else cutoff)
    if len(parts) > 1 or len(parts[0].repeats):
        return None
    return Atoms(numbers=atoms.numbers, positions=parts[0].positions)


def _nearest(
    displacements: Float[np.ndarray, "atoms 3"], atoms: Atoms
) -> Float[np.ndarray, "atoms 3"]:
    """Displacements by the minimum-image convention."""
    if not atoms.pbc.any():
        return displacements
    return np.asarray(find_mic(displacements, atoms.cell, atoms.pbc)[0])


def _in_images(reference: Atoms, atoms: Atoms, shift: Float[np.ndarray, " 3"]) -> Atoms:
    """Translate a structure; move atoms to the images nearest to a reference."""
    moved = atoms.positions - shift - reference.positions
    atoms.set_positions(
        reference.positions + _nearest(moved, reference), apply_constraint=False
    )
    return atoms


def _common_shift(reference: Atoms, atoms: Atoms) -> Float[np.ndarray, " 3"]:
    """Common translation of all atoms in Å, independent of their periodic images.

    The shifts of single atoms are the candidates; the best one is chosen.
    """
    moved = atoms.positions - reference.positions
    best, least = np.zeros(3), np.inf
    for candidate in moved:
        rest = _nearest(moved - candidate, reference)
        mean = candidate + rest.mean(axis=0)
        spread = float((_nearest(moved - mean, reference) ** 2).sum())
        if spread < least - 1e-9:
            best, least = mean, spread
    return best
