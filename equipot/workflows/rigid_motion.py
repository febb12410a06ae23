"""Rigid motions (zero modes) of a structure, and internal coordinates without them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from ase import Atoms, units
from ase.constraints import FixAtoms
from jaxtyping import Float, Int
from scipy.linalg import null_space

from equipot.workflows.bodies import Body, bodies, whole
from equipot.workflows.second_derivatives import pair_cutoff

WAVENUMBER_PER_ROOT_CURVATURE: Final = (
    units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm
)
"""Frequency in cm^-1 of sqrt(1 eV/Å^2/amu): 521.47."""

MAX_ZERO_WAVENUMBER: Final = 10.0
"""Largest frequency in cm^-1 of a motion that counts as a zero mode."""

MAX_ZERO_WAVENUMBER_SHARE: Final = 0.005
"""The same relative to the highest frequency, due to the errors of finite differences
of forces."""

NEGLIGIBLE_MOMENT: Final = 0.03
"""Moment of inertia in amu Å^2 below which a rotation about an axis does not count. The
rotational quantum, 16.86 cm^-1 amu Å^2 over the moment, is then that of a bending mode,
500 cm^-1 or more, and the distances of the atoms from the axis are those of its
zero-point motion."""

MAX_LINEAR_INERTIA_RATIO: Final = 0.05
"""Ratio of the smallest to the largest moment of inertia below which a molecule may be
linear with soft bending modes; the curvature along the rotation then decides."""

DEFAULT_RANGE_A: Final = 6.0
"""Interaction range in Å assumed for calculators that do not define one."""

MAX_FREE_FORCE: Final = 1e-3
"""Largest force in eV/Å along a possible zero mode."""


@dataclass(frozen=True)
class RigidMotions:
    """Translations and rotations of a structure or of its non-interacting parts.

    Attributes:
        displacements: Linearly independent columns over all 3N coordinates; rows of
            fixed atoms are zero.
        translations: Number of translations among them.
        molecule: Unwrapped structure without a cell if it is one isolated molecule;
            None otherwise.
        bodies: Number of free, non-interacting parts.
        error: Largest violation of the invariance of the energy by the second
            derivatives, as a frequency in cm^-1, with forces accounted for; zero for an
            exact Hessian of an invariant energy, at any structure.
        tolerance: Largest accepted `error` in cm^-1.
        offender: Description of the motion with the largest error.
    """

    displacements: Float[np.ndarray, "coordinates motions"]
    translations: int
    molecule: Atoms | None
    bodies: int
    error: float
    tolerance: float
    offender: str

    @property
    def rotations(self) -> int:
        """Number of rotations."""
        return self.displacements.shape[1] - self.translations

    def weighted(
        self, weights: Float[np.ndarray, " atoms"]
    ) -> Float[np.ndarray, "coordinates motions"]:
        """Orthonormal columns in coordinates weighted by roots of the given weights."""
        root = np.repeat(np.sqrt(weights), 3)
        return np.linalg.qr(root[:, None] * self.displacements)[0]

    def described(self) -> str:
        """Description such as ``3 translations, 2 rotations``."""
        counts = {"translation": self.translations, "rotation": self.rotations}
        texts = [f"{n} {name}{'s' * (n > 1)}" for name, n in counts.items() if n]
        return ", ".join(texts) or "none"


@dataclass(frozen=True)
class _Motion:
    """Displacement of the atoms of a body; a rotation if it has an axis."""

    vector: Float[np.ndarray, " coordinates"]
    axis: Float[np.ndarray, " 3"]
    indices: Int[np.ndarray, " body"]
    name: str


def free_atoms(atoms: Atoms) -> Int[np.ndarray, " free"]:
    """Indices of the atoms that are not fixed.

    Raises:
        ValueError: If there are constraints other than `ase.constraints.FixAtoms`, or
            all atoms are fixed.
    """
    fixed: set[int] = set()
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ValueError(
                "second derivatives support FixAtoms constraints only, got "
                f"{type(constraint).__name__}: remove it with atoms.set_constraint()"
            )
        fixed.update(constraint.get_indices().tolist())
    free = np.array([i for i in range(len(atoms)) if i not in fixed], dtype=int)
    if not len(free):
        raise ValueError("expected at least one free atom, got none")
    return free


def rigid_motions(atoms: Atoms, matrix: Float[np.ndarray, "n n"]) -> RigidMotions:
    r"""Zero modes of a structure: six for a molecule, five for a linear one.

    Parts with no pair of atoms within the range of the potential move independently. A
    part that is connected to its own periodic images in one direction (a wire) rotates
    about that direction only; in two or three directions it does not rotate. Fixed
    atoms do not move: a molecule with one fixed atom rotates about it.

    The range of potentials of this package is known. For other calculators a range of
    6 Å is assumed, and the motions of a part count only if forces and second
    derivatives are consistent with all of them. An energy that is invariant under a
    rotation about :math:`\omega` satisfies, at any structure with forces F,

    .. math:: \sum_j H_{ij} (\omega \times r_j) = -\omega \times F_i

    Args:
        atoms: Structure with a calculator.
        matrix: Symmetric Hessian in eV/Å^2.

    Returns:
        The motions, and the violation of invariance by the second derivatives.
    """
    free = free_atoms(atoms)
    forces = atoms.get_forces(apply_constraint=False)
    cutoff = pair_cutoff(atoms)
    parts = bodies(atoms, DEFAULT_RANGE_A if cutoff is None else cutoff)
    tolerance = _tolerance(matrix, atoms)
    kept: list[_Motion] = []
    errors: list[float] = []
    if cutoff is None and len(free) == len(atoms):
        kept += _motions(whole(atoms), atoms, free, matrix)
        errors += [_error(m, matrix, forces, atoms, free) for m in kept]
    for part in parts:
        moves = list(_motions(part, atoms, free, matrix))
        wrong = [_error(m, matrix, forces, atoms, free) for m in moves]
        unforced = all(_is_unforced(m, forces, free) for m in moves)
        if cutoff is not None or (max(wrong, default=0.0) < tolerance and unforced):
            kept += moves
            errors += wrong
    displacements, translations = _independent(kept, atoms)
    worst = int(np.argmax(errors)) if errors else 0
    motions = RigidMotions(
        displacements=displacements,
        translations=translations,
        molecule=None,
        bodies=translations // 3,
        error=max(errors, default=0.0),
        tolerance=tolerance,
        offender=kept[worst].name if kept else "",
    )
    return _with_molecule(motions, atoms, parts, matrix, free)


def internal_basis(
    atoms: Atoms, weights: Float[np.ndarray, " atoms"], motions: RigidMotions
) -> Float[np.ndarray, "coordinates internal"]:
    """Orthonormal basis of the internal coordinates, weighted, without rigid motions.

    Args:
        atoms: Structure; `FixAtoms` constraints are respected.
        weights: Weights of the atoms; coordinates are positions times their square
            roots.
        motions: Rigid motions to project out.

    Returns:
        Columns over all 3N coordinates; rows of fixed atoms are zero.
    """
    free = (3 * free_atoms(atoms)[:, None] + np.arange(3)).ravel()
    across = np.eye(3 * len(atoms))[:, free]
    if not motions.displacements.shape[1]:
        return across
    return across @ null_space(motions.weighted(weights)[free].T)


def num_rotation_axes(
    positions: Float[np.ndarray, "body 3"], masses: Float[np.ndarray, " body"]
) -> int:
    """Number of rotations of an isolated molecule: 3, linear molecule 2, atom 0.

    Args:
        positions: Positions in Å.
        masses: Masses in amu.
    """
    arms = positions - masses @ positions / masses.sum()
    moments = np.linalg.eigvalsh(_inertia(arms, masses, np.eye(3)))
    return int((moments > NEGLIGIBLE_MOMENT).sum())


def _motions(
    body: Body,
    atoms: Atoms,
    free: Int[np.ndarray, " free"],
    matrix: Float[np.ndarray, "n n"],
) -> Iterator[_Motion]:
    """Candidate zero modes of one body."""
    moves = np.isin(body.indices, free)
    if not moves.any():
        return
    masses = atoms.get_masses()[body.indices]
    name = "the structure" if len(body.indices) == len(atoms) else _named(body, atoms)
    if moves.all():
        pivot = masses @ body.positions / masses.sum()
        for axis in np.eye(3):
            shift = np.tile(axis, (len(body.indices), 1))
            yield _motion(body, atoms, shift, np.zeros(3), f"a translation of {name}")
        held = np.zeros((0, 3))
    else:
        pivot = body.positions[~moves][0]
        held = body.positions[~moves] - pivot
    axes = _allowed_axes(np.concatenate([body.repeats, held]))
    arms = body.positions - pivot
    moments, turns = np.linalg.eigh(_inertia(arms, masses, axes))
    largest = float(np.linalg.eigvalsh(_inertia(arms, masses, np.eye(3))).max())
    for moment, turn in zip(moments, turns.T, strict=True):
        axis = turn @ axes
        if moment < NEGLIGIBLE_MOMENT:
            continue
        if moment < MAX_LINEAR_INERTIA_RATIO * largest and _is_bend(
            body, arms, axis, masses, matrix
        ):
            continue
        yield _motion(body, atoms, np.cross(axis, arms), axis, f"a rotation of {name}")


def _named(body: Body, atoms: Atoms) -> str:
    formula = atoms[body.indices].get_chemical_formula()
    return f"the {formula} of atom {body.indices[0]}"


def _motion(
    body: Body,
    atoms: Atoms,
    displacement: Float[np.ndarray, "body 3"],
    axis: Float[np.ndarray, " 3"],
    name: str,
) -> _Motion:
    vector = np.zeros((len(atoms), 3))
    vector[body.indices] = displacement
    return _Motion(vector.ravel(), axis, body.indices, name)


def _allowed_axes(
    directions: Float[np.ndarray, "directions 3"],
) -> Float[np.ndarray, "axes 3"]:
    """Orthonormal axes of rotations that leave given directions invariant."""
    longest = np.linalg.norm(directions, axis=1).max(initial=0.0)
    if longest < 1e-6:
        return np.eye(3)
    _, sizes, rows = np.linalg.svd(directions, full_matrices=True)
    return rows[:1] if (sizes > 1e-6 * longest).sum() == 1 else np.zeros((0, 3))


def _inertia(
    arms: Float[np.ndarray, "body 3"],
    masses: Float[np.ndarray, " body"],
    axes: Float[np.ndarray, "axes 3"],
) -> Float[np.ndarray, "axes axes"]:
    """Moments of inertia in amu Å^2 for rotations about given axes."""
    moves = np.cross(axes[:, None], arms[None])
    return np.einsum("aik,bik,i->ab", moves, moves, masses)


def _is_bend(
    body: Body,
    arms: Float[np.ndarray, "body 3"],
    axis: Float[np.ndarray, " 3"],
    masses: Float[np.ndarray, " body"],
    matrix: Float[np.ndarray, "n n"],
) -> bool:
    """Whether a rotation about an axis is one of two degenerate bending modes.

    Atoms move by equal distances in the rotation about the axis and in the motion away
    from it. For a linear structure both have the same curvature; for a bent stationary
    structure the rotation has none.
    """
    off = arms - np.outer(arms @ axis, axis)
    turn = np.cross(axis, arms)
    coordinates = (3 * body.indices[:, None] + np.arange(3)).ravel()
    block = matrix[np.ix_(coordinates, coordinates)]
    across, away = (d.ravel() @ block @ d.ravel() for d in (turn, off))
    return bool(abs(across) > abs(away) / 2)


def _error(
    motion: _Motion,
    matrix: Float[np.ndarray, "n n"],
    forces: Float[np.ndarray, "atoms 3"],
    atoms: Atoms,
    free: Int[np.ndarray, " free"],
) -> float:
    """Violation of the invariance under a rigid motion, as a frequency in cm^-1."""
    masses = atoms.get_masses()
    change = (matrix @ motion.vector).reshape(-1, 3)
    change[motion.indices] += np.cross(motion.axis, forces[motion.indices])
    change, root = change[free], np.sqrt(masses[free])[:, None]
    size = np.linalg.norm(root * motion.vector.reshape(-1, 3)[free])
    return WAVENUMBER_PER_ROOT_CURVATURE * float(
        np.sqrt(np.linalg.norm(change / root) / size)
    )


def _is_unforced(
    motion: _Motion,
    forces: Float[np.ndarray, "atoms 3"],
    free: Int[np.ndarray, " free"],
) -> bool:
    vector = motion.vector.reshape(-1, 3)[free]
    along = float((vector * forces[free]).sum() / np.linalg.norm(vector))
    return abs(along) < MAX_FREE_FORCE


def _tolerance(matrix: Float[np.ndarray, "n n"], atoms: Atoms) -> float:
    root = np.repeat(np.sqrt(atoms.get_masses()), 3)
    largest = float((np.abs(np.diag(matrix)) / root**2).max(initial=0.0))
    return max(
        MAX_ZERO_WAVENUMBER,
        MAX_ZERO_WAVENUMBER_SHARE * WAVENUMBER_PER_ROOT_CURVATURE * np.sqrt(largest),
    )


def _independent(
    motions: list[_Motion], atoms: Atoms
) -> tuple[Float[np.ndarray, "coordinates motions"], int]:
    """Orthonormal columns with the same span, and the number of translations."""
    n = 3 * len(atoms)
    shifts = [m.vector for m in motions if not m.axis.any()]
    turns = [m.vector for m in motions if m.axis.any()]
    columns = np.zeros((n, 0))
    for group in (shifts, turns):
        for vector in group:
            rest = vector - columns @ (columns.T @ vector)
            rest = rest - columns @ (columns.T @ rest)
            if np.linalg.norm(rest) > 1e-6 * np.linalg.norm(vector):
                rest = rest / np.linalg.norm(rest)
                columns = np.concatenate([columns, rest[:, None]], axis=1)
        if group is shifts:
            translations = columns.shape[1]
    return columns, translations


def _with_molecule(
    motions: RigidMotions,
    atoms: Atoms,
    parts: tuple[Body, ...],
    matrix: Float[np.ndarray, "n n"],
    free: Int[np.ndarray, " free"],
) -> RigidMotions:
    """The same with `molecule` set, if the structure is one isolated molecule."""
    if len(free) < len(atoms) or (atoms.pbc.any() and len(parts) > 1):
        return motions
    body = parts[0] if atoms.pbc.any() else whole(atoms)
    expected = len(list(_motions(body, atoms, free, matrix)))
    if len(body.repeats) or motions.displacements.shape[1] != expected:
        return motions
    molecule = Atoms(
        numbers=atoms.numbers, positions=body.positions, masses=atoms.get_masses()
    )
    return replace(motions, molecule=molecule)
