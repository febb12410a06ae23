"""Structures of benchmarks, made here so that every machine has the same."""

import itertools
import re
from typing import Final

import numpy as np
from ase import Atoms
from ase.build import bulk

WORKLOADS: Final = ("molecule", "water", "silicon-2", "silicon-5")
"""A 27-atom molecule, 192 atoms of water, 64 and 1,000 atoms of silicon."""
EXPECTED_WORKLOAD: Final = (
    "molecule (27 atoms), water (192 atoms), water-N (192 N^3 atoms) or silicon-N "
    "(8 N^3 atoms)"
)

HEAVY_ATOMS: Final = "CCOCCNCCOC"
"""Chain of an ether amine, C7H17NO2, with elements of organic molecules."""
BOND_LENGTHS: Final = {"CC": 1.53, "CO": 1.42, "CN": 1.46, "CH": 1.09, "HN": 1.01}
"""In Å; letters in alphabetical order."""
NUM_HYDROGENS: Final = {"C": 2, "N": 1, "O": 0}
"""On an atom inside the chain."""
TETRAHEDRAL: Final = np.arccos(-1 / 3)
"""Angle between bonds in radians."""

WATER_LENGTH: Final = 12.42
"""Edge of a cube with 64 molecules at 1 g/cm^3 in Å."""
MOLECULES_PER_EDGE: Final = 4
OH_LENGTH, HOH_ANGLE = 0.9572, np.deg2rad(104.52)
MIN_CONTACT: Final = 1.5
"""Shortest distance in Å between atoms of different water molecules."""
SILICON_LENGTH: Final = 5.431
"""Lattice constant in Å."""


def is_workload(name: str) -> bool:
    """Whether `workload` accepts the name."""
    return (
        re.fullmatch(r"molecule|water(-[1-9]\d?)?|silicon-[1-9]\d?", name) is not None
    )


def workload(name: str) -> Atoms:
    """Structure of a benchmark, with atoms away from symmetric positions.

    Args:
        name: See `EXPECTED_WORKLOAD`.

    Raises:
        ValueError: If there is no such workload.
    """
    if not is_workload(name):
        raise ValueError(f"unknown workload {name}, expected {EXPECTED_WORKLOAD}")
    kind, _, number = name.partition("-")
    n = int(number or 1)
    atoms = {"molecule": _molecule, "water": _water, "silicon": _silicon}[kind]()
    repeated: Atoms = atoms.repeat(n) if n > 1 else atoms
    repeated.rattle(0.05 if kind == "silicon" else 0.02, seed=n)
    return repeated


def _silicon() -> Atoms:
    return bulk("Si", "diamond", a=SILICON_LENGTH, cubic=True)


def _molecule() -> Atoms:
    """Chain of tetrahedral atoms in the plane z = 0, with hydrogens beside it."""
    along, across = np.sin(TETRAHEDRAL / 2), np.cos(TETRAHEDRAL / 2)
    symbols, positions = list(HEAVY_ATOMS), [np.zeros(3)]
    for n, pair in enumerate(itertools.pairwise(HEAVY_ATOMS)):
        bond = np.array([along, (-1) ** n * across, 0.0])
        positions.append(positions[-1] + _bond_length(*pair) * bond)
    for n, element in enumerate(HEAVY_ATOMS):
        up = (-1) ** n * across
        bonds = [[0.0, -up, z] for z in (along, -along)[: NUM_HYDROGENS[element]]]
        if n == 0:
            bonds.append([-along, up, 0.0])
        if n == len(HEAVY_ATOMS) - 1:
            bonds.append([along, up, 0.0])
        for direction in np.array(bonds):
            symbols.append("H")
            positions.append(positions[n] + _bond_length(element, "H") * direction)
    return Atoms(symbols, positions=positions)


def _bond_length(a: str, b: str) -> float:
    return BOND_LENGTHS["".join(sorted(a + b))]


def _water() -> Atoms:
    """Molecules of random orientation near the points of a cubic grid."""
    rng = np.random.default_rng(0)
    half = HOH_ANGLE / 2
    hydrogens = [[s * np.sin(half), np.cos(half), 0.0] for s in (1, -1)]
    water = OH_LENGTH * np.array([[0.0, 0.0, 0.0], *hydrogens])
    spacing = WATER_LENGTH / MOLECULES_PER_EDGE
    placed = np.empty((0, 3))
    for cell in np.ndindex(*3 * [MOLECULES_PER_EDGE]):
        while True:
            center = spacing * (np.array(cell) + 0.5) + rng.normal(0, 0.1, 3)
            positions = center + water @ _rotation(rng)
            between = positions[:, None] - placed
            between -= WATER_LENGTH * np.round(between / WATER_LENGTH)
            if (np.linalg.norm(between, axis=-1) > MIN_CONTACT).all():
                break
        placed = np.concatenate([placed, positions])
    symbols = ["O", "H", "H"] * MOLECULES_PER_EDGE**3
    return Atoms(symbols, positions=placed, cell=3 * [WATER_LENGTH], pbc=True)


def _rotation(rng: np.random.Generator) -> np.ndarray:
    """Uniformly distributed rotation, from a quaternion."""
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
