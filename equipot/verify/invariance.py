"""Invariance under translation, rotation, permutation and repetition."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float64, Int64
from scipy.spatial.transform import Rotation

from equipot.models.energy_model import EnergyModel
from equipot.verify.generated import on_grid, tiled
from equipot.verify.physics import (
    TOLERANCE,
    Predicted,
    Quantity,
    described,
    predict,
    predict_together,
    size_of_energy,
    size_of_forces,
    worst,
)
from equipot.verify.result import Check

COPY_DISTANCE = 128.0
"""Distance in Å between copies, beyond every cutoff; a power of two, see `on_grid`."""
MAX_TRANSLATION = 1024.0
"""Maximum translation in Å."""
MIN_REPEATED_ATOMS = 136
"""Minimum number of atoms after repetition of a structure."""
MAX_IMAGE_SHIFT = 9
"""Maximum number of cells by which atoms are moved to other images."""
PADDING_FRACTION = 0.25
"""Additional search radius relative to the cutoff."""
REASON = (
    "relative to the largest or the typical force; rounding of 1e-16, amplified in "
    "layers and derivatives by less than 1e7"
)
ROUNDING_FACTOR = 30.0
MIN_TOLERANCE = 1e-12
ROUNDING_REASON = (
    f"relative to the largest or the typical force; {ROUNDING_FACTOR:g} times the "
    f"rounding errors under translation, at least {MIN_TOLERANCE:g}: constants "
    "rounded to float32 break symmetries by little more"
)

EXTENSIVE = (
    "; the energy must be proportional to the number of copies, the forces unchanged"
)


@dataclass(frozen=True)
class Change:
    """An equivalent structure, and the transformation of its predictions."""

    atoms: Atoms
    order: Int64[np.ndarray, " atoms"]
    """Index in the original structure of each atom."""
    turn: Float64[np.ndarray, "3 3"]
    """Matrix that transforms vectors of the original structure."""
    copies: int = 1
    """Number of copies of the original structure."""


def invariance_checks(
    model: EnergyModel,
    structures: Sequence[Atoms],
    *,
    reflections: bool = True,
    seed: int = 0,
    typical: float = 0.0,
    many: int = MIN_REPEATED_ATOMS,
    lightly: bool = False,
) -> list[Check]:
    """Compare predictions for equivalent representations of structures.

    Args:
        model: Model in float64.
        structures: Structures with atoms.
        reflections: Whether to include reflections.
        seed: Seed of rotations, translations and permutations.
        typical: Typical force in eV/Å of atoms off lattice sites.
        many: Minimum number of atoms after repetition.
        lightly: Only rotation, permutation and periodic images.

    Returns:
        One check per transformation, with the largest relative difference.
    """
    rng = np.random.default_rng(seed)
    structures = [on_grid(atoms) for atoms in structures]
    original = [_Original.of(model, atoms, typical) for atoms in structures]
    changes = {k: v for k, v in CHANGES.items() if reflections or k != REFLECTION}
    if lightly:
        changes = {name: changes[name] for name in QUICK_CHANGES}
    checks: list[Check] = []
    for name, change in changes.items():
        # the first is the translation, which measures rounding errors
        rounding = checks[0].difference.relative if checks else None
        found = [
            (before, changed)
            for before in original
            if (changed := change(before.atoms, rng)) is not None
        ]
        if found:
            checks.append(_compare(model, name, found, rounding))
    if lightly:
        return checks
    rounding = checks[0].difference.relative
    repeated = [
        (before, _many(before.atoms, many, model.cutoff)) for before in original
    ]
    checks.append(_compare(model, "size extensivity, many copies", repeated, rounding))
    checks.append(_batch_check(model, original, rounding))
    checks.append(_padding_check(model, original, rounding))
    return checks


def reflection_difference(
    model: EnergyModel, structures: Sequence[Atoms], *, seed: int = 0
) -> float:
    """Largest energy change in eV per atom under reflections.

    Args:
        model: Model in float64.
        structures: Structures with atoms.
        seed: Seed of the reflections.
    """
    rng = np.random.default_rng(seed)
    return max(
        float((predict(model, atoms).energy - predict(model, mirrored).energy).abs())
        / len(atoms)
        for atoms in structures
        for mirrored in [_inverted(atoms, rng).atoms]
    )


@dataclass(frozen=True)
class _Original:
    """A structure, its prediction, and the scale of its forces."""

    atoms: Atoms
    found: Predicted
    size: float

    @classmethod
    def of(cls, model: EnergyModel, atoms: Atoms, typical: float) -> "_Original":
        found = predict(model, atoms)
        return cls(atoms, found, size_of_forces(found, atoms, typical))


def _translated(atoms: Atoms, rng: np.random.Generator) -> Change:
    moved = atoms.copy()
    moved.positions += rng.normal(size=3)
    return Change(moved, np.arange(len(atoms)), np.eye(3))


def _far_away(atoms: Atoms, rng: np.random.Generator) -> Change:
    """Translate by powers of two, which keeps differences of positions exact."""
    moved = atoms.copy()
    distances = rng.permutation([COPY_DISTANCE, -MAX_TRANSLATION / 2, MAX_TRANSLATION])
    moved.positions += distances * rng.choice([-1.0, 1.0], 3)
    return Change(moved, np.arange(len(atoms)), np.eye(3))


def _turned(atoms: Atoms, rng: np.random.Generator) -> Change:
    return _mapped(atoms, Rotation.random(random_state=rng).as_matrix())


def _inverted(atoms: Atoms, rng: np.random.Generator) -> Change:
    return _mapped(atoms, -Rotation.random(random_state=rng).as_matrix())


def _mapped(atoms: Atoms, turn: Float64[np.ndarray, "3 3"]) -> Change:
    mapped = atoms.copy()
    mapped.set_cell(atoms.cell.array @ turn.T)
    mapped.positions = atoms.positions @ turn.T
    return Change(mapped, np.arange(len(atoms)), turn)


def _renumbered(atoms: Atoms, rng: np.random.Generator) -> Change:
    order = rng.permutation(len(atoms))
    return Change(atoms[order], order, np.eye(3))


def _in_other_images(atoms: Atoms, rng: np.random.Generator) -> Change | None:
    if not atoms.pbc.any():
        return None
    moved = atoms.copy()
    steps = (
        rng.integers(-MAX_IMAGE_SHIFT, MAX_IMAGE_SHIFT + 1, (len(atoms), 3)) * atoms.pbc
    )
    moved.positions += steps @ atoms.cell.array
    return Change(moved, np.arange(len(atoms)), np.eye(3))


def _in_another_cell(atoms: Atoms, rng: np.random.Generator) -> Change | None:
    """Change the basis of the lattice by adding twice a vector to the next ones."""
    directions = np.flatnonzero(atoms.pbc)
    if len(directions) < 2:
        return None
    order = rng.permutation(directions)
    changed = atoms.copy()
    cell = atoms.cell.array.copy()
    for a, b in pairwise(order):
        cell[b] += 2 * cell[a]
    changed.set_cell(cell)
    return Change(changed, np.arange(len(atoms)), np.eye(3))


def _other_handed(atoms: Atoms, rng: np.random.Generator) -> Change | None:
    """Exchange two lattice vectors or reverse one: the volume becomes negative."""
    if not atoms.pbc.any():
        return None
    changed = atoms.copy()
    cell, pbc = atoms.cell.array.copy(), atoms.pbc.copy()
    if rng.random() < 0.5:
        a, b = rng.permutation(3)[:2]
        cell[[a, b]], pbc[[a, b]] = cell[[b, a]], pbc[[b, a]]
    else:
        cell[rng.integers(3)] *= -1
    changed.set_cell(cell)
    changed.pbc = pbc
    return Change(changed, np.arange(len(atoms)), np.eye(3))


def _repeated(atoms: Atoms, rng: np.random.Generator) -> Change:
    """Supercell; for non-periodic structures, two distant copies."""
    count = len(atoms)
    if atoms.pbc.any():
        direction = int(rng.choice(np.flatnonzero(atoms.pbc)))
        doubled = atoms.repeat([2 if n == direction else 1 for n in range(3)])
    else:
        copy = atoms.copy()
        copy.positions += [np.ptp(atoms.positions[:, 0]) + COPY_DISTANCE, 0, 0]
        doubled = atoms + copy
    return Change(doubled, np.tile(np.arange(count), 2), np.eye(3), copies=2)


def _many(atoms: Atoms, many: int, cutoff: float) -> Change:
    """Supercell without self-images within the cutoff, or many molecules."""
    together = tiled(atoms, many, cutoff)
    copies = len(together) // len(atoms)
    order = np.tile(np.arange(len(atoms)), copies)
    return Change(together, order, np.eye(3), copies=copies)


REFLECTION = "reflection"
QUICK_CHANGES = ("translation", "rotation", "permutation", "periodic images")
CHANGES: dict[str, Callable[[Atoms, np.random.Generator], Change | None]] = {
    "translation": _translated,
    "large translation": _far_away,
    "rotation": _turned,
    REFLECTION: _inverted,
    "permutation": _renumbered,
    "periodic images": _in_other_images,
    "equivalent unit cell": _in_another_cell,
    "left-handed cell": _other_handed,
    "size extensivity, two copies": _repeated,
}


def _compare(
    model: EnergyModel,
    name: str,
    found: Sequence[tuple[_Original, Change]],
    rounding: float | None,
) -> Check:
    quantities = []
    for before, change in found:
        after = predict(model, change.atoms)
        turn = torch.from_numpy(change.turn)
        order = torch.from_numpy(change.order)
        old = before.found
        expected = Predicted(
            change.copies * old.energy,
            old.forces[order] @ turn.T,
            None if old.stress is None else turn @ old.stress @ turn.T,
            old.energies[order],
            None if old.features is None else old.features[order],
        )
        quantities += differences_of(after, expected, before.size, change.atoms)
    extensive = any(change.copies > 1 for _, change in found)
    return _rounding_check(quantities, name, rounding, EXTENSIVE if extensive else "")


def _batch_check(
    model: EnergyModel, original: Sequence[_Original], rounding: float
) -> Check:
    """Every structure in a batch with the others, copies, and an isolated atom."""
    company = [*original, *reversed(original)]
    alone = Atoms(original[0].atoms.numbers[:1])
    first, *others = (one.atoms for one in company)
    together = predict_together(model, [first, alone, *others])
    del together[1]
    quantities = []
    for before, after in zip(company, together, strict=True):
        quantities += differences_of(after, before.found, before.size, before.atoms)
    return _rounding_check(quantities, "batch independence", rounding)


def _padding_check(
    model: EnergyModel, original: Sequence[_Original], rounding: float
) -> Check:
    """Every structure with edges beyond the cutoff and isolated atoms in the batch."""
    alone = Atoms(original[0].atoms.numbers[:1])
    padded = [atoms for one in original for atoms in (one.atoms, alone)]
    together = predict_together(model, padded, PADDING_FRACTION * model.cutoff)[::2]
    quantities = []
    for before, after in zip(original, together, strict=True):
        quantities += differences_of(after, before.found, before.size, before.atoms)
    return _rounding_check(quantities, "padding beyond the cutoff", rounding)


def _rounding_check(
    quantities: Sequence[Quantity],
    name: str,
    rounding: float | None,
    remark: str = "",
) -> Check:
    if rounding is None or not rounding <= TOLERANCE:
        return worst(quantities, name=name, reason=REASON + remark)
    tolerance = max(MIN_TOLERANCE, ROUNDING_FACTOR * rounding)
    return worst(
        quantities, name=name, reason=ROUNDING_REASON + remark, tolerance=tolerance
    )


def differences_of(
    found: Predicted, expected: Predicted, size: float, atoms: Atoms
) -> list[Quantity]:
    """Differences between predictions, with their scales.

    Args:
        found: Prediction for the transformed structure.
        expected: Prediction for the same atoms in the same order.
        size: Scale of forces in eV/Å; the scale of energies is this times 1 Å per atom,
            that of stress is this per volume.
        atoms: Structure.
    """
    where = described(atoms)
    total = size_of_energy(expected.energies, size)
    each = size_of_energy(expected.energies, size / max(len(atoms), 1))
    pairs = [
        ("energy", "eV", found.energy, expected.energy, total),
        ("forces", "eV/Å", found.forces, expected.forces, size),
        ("energies", "eV", found.energies, expected.energies, each),
    ]
    if expected.stress is not None and found.stress is not None:
        density = len(atoms) / float(atoms.get_volume())
        pairs.append(
            ("stress", "eV/Å^3", found.stress, expected.stress, size * density)
        )
    if expected.features is not None and found.features is not None:
        largest = max(_largest(expected.features), 1e-3)
        pairs.append(("features", "", found.features, expected.features, largest))
    return [
        Quantity(name, unit, _largest(one - other), scale, where)
        for name, unit, one, other, scale in pairs
    ]


def _largest(values: torch.Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0
