"""Test structures of every kind of periodicity, generated within the domain."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

from equipot.verify.dimers import Limits
from equipot.verify.structures import MARGIN, MAX_ATOMS, NUM_ATOMS, place_atoms

GRID = 2.0**-32
"""Å. Positions and cells are multiples of it, so that moving them by powers of two, and
by vectors of the cell, is exact."""
COMPRESSED_NEIGHBORS = 150.0
"""Neighbors of an atom in the compressed crystal, three times those of most crystals:
144 of its atoms have 20,000 edges."""
RATTLE = 0.06
"""Of the distance of neighbors: displacements in the compressed crystal."""
VACUUM = 1.0
"""Å by which a box is larger than what keeps images beyond the cutoff."""
CLOSE_IMAGES = 0.6
"""Of the cutoff: gap between images of a molecule in a box."""
SHORTEST = 0.8
"""Of the sum of covalent radii: pairs of a structure without known distances keep it"""


@dataclass(frozen=True)
class Generated:
    """One structure of each kind."""

    crystal: Atoms
    """Periodic in three directions, tilted."""
    compressed: Atoms
    """The same, with `COMPRESSED_NEIGHBORS` neighbors."""
    slab: Atoms
    """Periodic in two directions."""
    wire: Atoms
    """Periodic in one direction."""
    cluster: Atoms
    """Free."""
    boxed: Atoms
    """Isolated atoms in a periodic box, in which images see each other."""
    one_atom: Atoms
    """One atom in a cell that is thinner than half of the cutoff."""
    left_handed: Atoms
    """A crystal whose cell has a negative determinant."""

    def named(self) -> dict[str, Atoms]:
        """All of them."""
        return {f.name.replace("_", "-"): getattr(self, f.name) for f in fields(self)}


def generate(
    elements: Sequence[int],
    cutoff: float,
    closest: Limits | None = None,
    *,
    molecule: Atoms | None = None,
    crystal: Atoms | None = None,
    seed: int = 0,
) -> Generated:
    """Structures for a potential.

    Args:
        elements: Atomic numbers; the first sixteen are used.
        cutoff: In Å.
        closest: Distance in Å that pairs keep; of pairs that may come as close as they
            like, a part of the sum of covalent radii.
        molecule: Free structure to put into a box in place of a generated one.
        crystal: Periodic structure to take in place of a generated one.
        seed: Of all random choices.
    """
    rng = np.random.default_rng(seed)
    some = tuple(elements[:MAX_ATOMS])
    numbers = np.resize(np.array(some), max(NUM_ATOMS, len(some)))
    cell, positions = place_atoms(numbers, _distances(some, cutoff, closest), rng)
    cluster = on_grid(Atoms(numbers, positions))
    periodic = on_grid(Atoms(numbers, positions, cell=cell, pbc=True))
    twin = (periodic if crystal is None else crystal).copy()
    twin.set_cell(twin.cell.array[[1, 0, 2]])
    return Generated(
        crystal=periodic,
        compressed=_compressed(some, cutoff, rng),
        slab=_partly(periodic, (True, True, False)),
        wire=_partly(periodic, (False, False, True)),
        cluster=cluster,
        boxed=in_a_box(cluster if molecule is None else molecule, CLOSE_IMAGES, cutoff),
        one_atom=_one_atom(some[-1], cutoff),
        left_handed=on_grid(twin),
    )


def on_grid(atoms: Atoms) -> Atoms:
    """A copy whose positions and cell are multiples of `GRID`."""
    rounded = atoms.copy()
    rounded.set_cell(np.round(atoms.cell.array / GRID) * GRID)
    rounded.positions = np.round(atoms.positions / GRID) * GRID
    return rounded


def in_a_box(atoms: Atoms, gap: float, cutoff: float) -> Atoms:
    """Isolated atoms in a periodic box.

    Args:
        atoms: Without periodic directions.
        gap: Between images, over the cutoff; at least 1.1 Å.
        cutoff: In Å.
    """
    boxed = atoms.copy()
    boxed.set_cell(np.diag(np.ptp(atoms.positions, axis=0) + max(gap * cutoff, 1.1)))
    boxed.pbc = True
    return on_grid(boxed)


def tiled(atoms: Atoms, count: int, cutoff: float) -> Atoms:
    """At least so many atoms, and at least twice the structure.

    Periodic directions are repeated, the one that is thinnest first; what is not
    periodic is copied on a grid whose places do not see each other.

    Args:
        atoms: With atoms.
        count: Atoms to reach.
        cutoff: In Å.
    """
    if not atoms.pbc.any():
        return _copies(atoms, max(2, -(-count // len(atoms))), cutoff)
    times = np.ones(3, dtype=int)
    lengths = np.where(atoms.pbc, atoms.cell.lengths(), np.inf)
    while len(atoms) * times.prod() < max(count, 2 * len(atoms)):
        times[np.argmin(times * lengths)] += 1
    return atoms.repeat(times.tolist())


def _copies(atoms: Atoms, count: int, cutoff: float) -> Atoms:
    step = np.ceil(np.ptp(atoms.positions, axis=0) + cutoff + VACUUM)
    side = int(np.ceil(count ** (1 / 3)))
    places = np.array(list(np.ndindex(side, side, side))[:count], dtype=float) * step
    together = Atoms(np.tile(atoms.numbers, count))
    together.positions = (places[:, None] + atoms.positions).reshape(-1, 3)
    return together


def _partly(atoms: Atoms, pbc: tuple[bool, bool, bool]) -> Atoms:
    changed = atoms.copy()
    changed.pbc = pbc
    return changed


def _compressed(
    elements: Sequence[int], cutoff: float, rng: np.random.Generator
) -> Atoms:
    """Eight atoms of a face-centered cubic crystal, or more, displaced and strained."""
    # density is sqrt(2) / spacing^3
    spacing = cutoff * (4 / 3 * np.pi * np.sqrt(2) / COMPRESSED_NEIGHBORS) ** (1 / 3)
    perfect = bulk("Ar", "fcc", a=np.sqrt(2) * spacing, cubic=True)
    atoms = perfect.repeat((1, 1, 2 if len(elements) <= NUM_ATOMS else 4))
    atoms.numbers = rng.permutation(np.resize(np.array(elements), len(atoms)))
    strain = np.eye(3) + np.array([[0.02, 0.03, -0.02], [0, -0.02, 0.04], [0, 0, 0.0]])
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    atoms.positions += RATTLE * spacing * rng.uniform(-1, 1, atoms.positions.shape)
    return on_grid(atoms)


def _one_atom(element: int, cutoff: float) -> Atoms:
    edge = 0.45 * cutoff
    cell = edge * np.array([[1.0, 0.05, 0.0], [0.45, 0.95, 0.1], [-0.3, 0.4, 1.1]])
    return on_grid(Atoms([element], cell=cell, pbc=True))


def _distances(
    elements: Sequence[int], cutoff: float, closest: Limits | None
) -> dict[tuple[int, int], float]:
    def distance(a: int, b: int) -> float:
        bond = SHORTEST * float(covalent_radii[a] + covalent_radii[b])
        limit = None if closest is None else closest(a, b)
        return MARGIN * max(bond, min(limit or 0.0, 0.95 * cutoff))

    return {(a, b): distance(a, b) for a in elements for b in elements}
