"""Generate test structures with every kind of periodicity within the domain."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

from equipot.verify.dimers import Limits
from equipot.verify.structures import DISTANCE_FACTOR, MAX_ATOMS, NUM_ATOMS, place_atoms

GRID = 2.0**-32
"""Grid spacing in Å of positions and cells, so that translations by powers of two and
by lattice vectors are exact."""
COMPRESSED_NEIGHBORS = 150.0
"""Number of neighbors per atom in the compressed crystal, three times that of most
crystals: 144 of its atoms have 20,000 edges."""
RATTLE = 0.06
"""Displacements in the compressed crystal relative to the neighbor distance."""
BOX_MARGIN = 1.0
"""Margin in Å of a box beyond the size at which images are at the cutoff."""
CLOSE_IMAGES = 0.6
"""Gap between images of a molecule in a box relative to the cutoff."""
MIN_PAIR_RATIO = 0.8
"""Minimum distance over the sum of covalent radii for pairs without a known one."""


@dataclass(frozen=True)
class Generated:
    """One structure of each kind."""

    crystal: Atoms
    """3D-periodic structure in a skewed cell."""
    compressed: Atoms
    """3D-periodic structure with `COMPRESSED_NEIGHBORS` neighbors per atom."""
    slab: Atoms
    """Structure with two periodic directions."""
    wire: Atoms
    """Structure with one periodic direction."""
    cluster: Atoms
    """Free."""
    boxed: Atoms
    """Molecule in a periodic box with images within the cutoff."""
    one_atom: Atoms
    """One atom in a cell thinner than half of the cutoff."""
    left_handed: Atoms
    """Crystal whose cell has a negative determinant."""

    def named(self) -> dict[str, Atoms]:
        """All structures by name."""
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
    """Generate test structures for a potential.

    Args:
        elements: Atomic numbers; the first sixteen are used.
        cutoff: Cutoff radius in Å.
        closest: Minimum distance in Å of pairs; pairs without one keep a fraction of
            the sum of covalent radii.
        molecule: Non-periodic structure for the box (default: generated).
        crystal: Periodic structure (default: generated).
        seed: Random seed.
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
    """Copy with positions and cell rounded to multiples of `GRID`."""
    rounded = atoms.copy()
    rounded.set_cell(np.round(atoms.cell.array / GRID) * GRID)
    rounded.positions = np.round(atoms.positions / GRID) * GRID
    return rounded


def in_a_box(atoms: Atoms, gap: float, cutoff: float) -> Atoms:
    """Place a molecule in a periodic box.

    Args:
        atoms: Non-periodic structure.
        gap: Gap between images relative to the cutoff; at least 1.1 Å.
        cutoff: Cutoff radius in Å.
    """
    boxed = atoms.copy()
    boxed.set_cell(np.diag(np.ptp(atoms.positions, axis=0) + max(gap * cutoff, 1.1)))
    boxed.pbc = True
    return on_grid(boxed)


def tiled(atoms: Atoms, count: int, cutoff: float) -> Atoms:
    """Repeat a structure at least twice, and up to a number of atoms.

    Periodic directions are repeated, the thinnest first; non-periodic structures are
    copied to grid points beyond the cutoff of each other.

    Args:
        atoms: Structure with atoms.
        count: Minimum number of atoms.
        cutoff: Cutoff radius in Å.
    """
    if not atoms.pbc.any():
        return _copies(atoms, max(2, -(-count // len(atoms))), cutoff)
    times = np.ones(3, dtype=int)
    lengths = np.where(atoms.pbc, atoms.cell.lengths(), np.inf)
    while len(atoms) * times.prod() < max(count, 2 * len(atoms)):
        times[np.argmin(times * lengths)] += 1
    return atoms.repeat(times.tolist())


def _copies(atoms: Atoms, count: int, cutoff: float) -> Atoms:
    step = np.ceil(np.ptp(atoms.positions, axis=0) + cutoff + BOX_MARGIN)
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
    """Displaced and strained fcc crystal with eight or more atoms."""
    # the density is sqrt(2) / spacing^3
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
        bond = MIN_PAIR_RATIO * float(covalent_radii[a] + covalent_radii[b])
        limit = None if closest is None else closest(a, b)
        return DISTANCE_FACTOR * max(bond, min(limit or 0.0, 0.95 * cutoff))

    return {(a, b): distance(a, b) for a in elements for b in elements}
