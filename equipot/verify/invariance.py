"""What must not change when a structure is moved, turned, renumbered or repeated."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float64, Int64
from scipy.spatial.transform import Rotation

from equipot.models.energy_model import EnergyModel
from equipot.verify.physics import (
    TOLERANCE,
    Predicted,
    largest_force,
    predict,
    predict_together,
    worst,
)
from equipot.verify.result import Check

FAR = 100.0
"""Å between copies of a molecule: beyond every cutoff."""
LONGER = 0.25
"""Of the cutoff by which the graph reaches further than it has to."""
REASON = (
    "of the largest force; rounding of 1e-16, which layers and derivatives let grow by "
    "less than 1e7"
)
ROUNDING_FACTOR = 30.0
SMALLEST_TOLERANCE = 1e-12
ROUNDING_REASON = (
    f"of the largest force; {ROUNDING_FACTOR:g} times the rounding errors that a "
    f"translation shows, at least {SMALLEST_TOLERANCE:g}: constants rounded to float32 "
    "break symmetries by little more"
)
EXTENSIVE = "; twice the energy is expected, and the same forces: size extensivity"


@dataclass(frozen=True)
class Change:
    """A structure that is the same as another, and how its predictions follow."""

    atoms: Atoms
    order: Int64[np.ndarray, " atoms"]
    """Atom of the original that each atom is."""
    turn: Float64[np.ndarray, "3 3"]
    """Matrix that vectors of the original are turned by."""
    copies: int = 1
    """How often the original is contained."""


def invariance_checks(
    model: EnergyModel,
    structures: Sequence[Atoms],
    *,
    reflections: bool = True,
    seed: int = 0,
) -> list[Check]:
    """Compare predictions for structures and for the same ones, written otherwise.

    Args:
        model: In float64.
        structures: With atoms.
        reflections: Whether mirror images have to be equivalent, too.
        seed: Of rotations, translations and permutations.

    Returns:
        A line for each way of writing a structure; the numbers are of the quantity and
        the structure that change most.
    """
    rng = np.random.default_rng(seed)
    original = [predict(model, atoms) for atoms in structures]
    changes = {k: v for k, v in CHANGES.items() if reflections or k != "mirror images"}
    checks: list[Check] = []
    for name, change in changes.items():
        # the first is the translation, which tells how large rounding errors are
        rounding = checks[0].difference.relative if checks else None
        found = [
            (before, changed, predict(model, changed.atoms))
            for atoms, before in zip(structures, original, strict=True)
            if (changed := change(atoms, rng)) is not None
        ]
        if found:
            checks.append(_compare(name, found, rounding))
    rounding = checks[0].difference.relative
    checks.append(_batch_check(model, structures, original, rounding))
    checks.append(_padding_check(model, structures, original, rounding))
    return checks


def _translated(atoms: Atoms, rng: np.random.Generator) -> Change:
    moved = atoms.copy()
    moved.positions += rng.normal(size=3)
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
    steps = rng.integers(-2, 3, (len(atoms), 3)) * atoms.pbc
    moved.positions += steps @ atoms.cell.array
    return Change(moved, np.arange(len(atoms)), np.eye(3))


def _in_another_cell(atoms: Atoms, rng: np.random.Generator) -> Change | None:
    """The same lattice in other vectors: a sum of two takes the place of one."""
    directions = np.flatnonzero(atoms.pbc)
    if len(directions) < 2:
        return None
    a, b = rng.permutation(directions)[:2]
    changed = atoms.copy()
    cell = atoms.cell.array.copy()
    cell[a] += cell[b]
    changed.set_cell(cell)
    return Change(changed, np.arange(len(atoms)), np.eye(3))


def _repeated(atoms: Atoms, rng: np.random.Generator) -> Change:
    """A supercell; or, of what is not periodic, two copies far apart."""
    count = len(atoms)
    if atoms.pbc.any():
        direction = int(rng.choice(np.flatnonzero(atoms.pbc)))
        doubled = atoms.repeat([2 if n == direction else 1 for n in range(3)])
    else:
        copy = atoms.copy()
        copy.positions += [np.ptp(atoms.positions[:, 0]) + FAR, 0, 0]
        doubled = atoms + copy
    return Change(doubled, np.tile(np.arange(count), 2), np.eye(3), copies=2)


CHANGES: dict[str, Callable[[Atoms, np.random.Generator], Change | None]] = {
    "translation": _translated,
    "rotation": _turned,
    "mirror images": _inverted,
    "numbering of atoms": _renumbered,
    "periodic images": _in_other_images,
    "choice of cell": _in_another_cell,
    "two copies": _repeated,
}


def _compare(
    name: str,
    found: Sequence[tuple[Predicted, Change, Predicted]],
    rounding: float | None,
) -> Check:
    size = largest_force([before for before, _, _ in found])
    quantities = []
    for before, change, after in found:
        turn = torch.from_numpy(change.turn)
        expected = Predicted(
            change.copies * before.energy,
            before.forces[torch.from_numpy(change.order)] @ turn.T,
            None if before.stress is None else turn @ before.stress @ turn.T,
        )
        quantities += _differences(after, expected, size, change.atoms)
    extensive = any(change.copies > 1 for _, change, _ in found)
    return _judge(quantities, name, rounding, EXTENSIVE if extensive else "")


def _batch_check(
    model: EnergyModel,
    structures: Sequence[Atoms],
    original: Sequence[Predicted],
    rounding: float,
) -> Check:
    """Every structure, among the others, copies of itself, and a free atom."""
    size = largest_force(original)
    order = [*range(len(structures)), *reversed(range(len(structures)))]
    company = [structures[n] for n in order]
    alone = Atoms(structures[0].numbers[:1])
    together = predict_together(model, [company[0], alone, *company[1:]])
    del together[1]
    quantities = []
    for n, after in zip(order, together, strict=True):
        quantities += _differences(after, original[n], size, structures[n])
    return _judge(quantities, "company in a batch", rounding)


def _padding_check(
    model: EnergyModel,
    structures: Sequence[Atoms],
    original: Sequence[Predicted],
    rounding: float,
) -> Check:
    """Every structure in a graph with pairs beyond the cutoff and with free atoms."""
    size = largest_force(original)
    alone = Atoms(structures[0].numbers[:1])
    padded = [atoms for one in structures for atoms in (one, alone)]
    together = predict_together(model, padded, LONGER * model.cutoff)[::2]
    quantities = []
    for atoms, before, after in zip(structures, original, together, strict=True):
        quantities += _differences(after, before, size, atoms)
    return _judge(quantities, "longer pairs in the graph", rounding)


def _judge(
    quantities: Sequence[tuple[str, str, float, float]],
    name: str,
    rounding: float | None,
    remark: str = "",
) -> Check:
    if rounding is None or not rounding <= TOLERANCE:
        return worst(quantities, against=name, reason=REASON + remark)
    tolerance = max(SMALLEST_TOLERANCE, ROUNDING_FACTOR * rounding)
    return worst(
        quantities, against=name, reason=ROUNDING_REASON + remark, tolerance=tolerance
    )


def _differences(
    found: Predicted, expected: Predicted, size: float, atoms: Atoms
) -> list[tuple[str, str, float, float]]:
    """Differences and sizes; energies per Å of force, stresses per volume."""
    out = [
        (
            "energy",
            "eV",
            float((found.energy - expected.energy).abs()),
            size * len(atoms),
        ),
        ("forces", "eV/Å", _largest(found.forces - expected.forces), size),
    ]
    if expected.stress is not None and found.stress is not None:
        density = len(atoms) / float(atoms.get_volume())
        difference = _largest(found.stress - expected.stress)
        out.append(("stress", "eV/Å^3", difference, size * density))
    return out


def _largest(values: torch.Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0
