"""Make data/vinyl_alcohol_*.xyz: vinyl alcohol to acetaldehyde, GFN2-xTB.

OMP_NUM_THREADS=1 python scripts/generate_reaction_data.py
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms, units
from numpy.typing import NDArray
from tblite.ase import TBLite
from xtb import isolated_atoms, label, save

from equipot.workflows import (
    find_saddle,
    guess_saddle,
    reaction_path,
    relax,
    vibrations,
)
from equipot.workflows.rigid_motion import internal_basis, rigid_motions

METHOD = "GFN2-xTB"
DATA = Path(__file__).parents[1] / "data"

SYMBOLS = "OCCHHHH"
"""The first hydrogen migrates from the oxygen to the second carbon."""

ENOL = [
    (1.25, -0.10, 0.00),
    (-0.05, 0.40, 0.00),
    (-1.20, -0.27, 0.00),
    (1.20, -1.06, 0.00),
    (-0.10, 1.48, 0.00),
    (-1.20, -1.35, 0.00),
    (-2.15, 0.24, 0.00),
]
KETO = [
    (1.22, 0.30, 0.00),
    (0.05, 0.45, 0.00),
    (-0.95, -0.67, 0.00),
    (-0.45, -1.64, 0.00),
    (-0.38, 1.47, 0.00),
    (-1.58, -0.60, 0.89),
    (-1.58, -0.60, -0.89),
]
"""Approximate geometries in Å of syn vinyl alcohol and acetaldehyde, to be relaxed."""

IMAGES = 15
STAGES = (0, 8, 30, 200)
"""Steps of the band after which it is sampled: a search with the potential will start
from an interpolation as crude as ours, so the potential must know what lies beside the
path as well."""

TEMPERATURES = (150.0, 300.0, 600.0, 1200.0)
"""Range of random temperatures in K."""

STRONGEST = 25.0
"""Largest force in eV/Å; structures with larger forces are left out."""

SOFTEST = 1.0
"""Lower bound in eV/Å^2 of the curvatures of sampled modes."""

COUNTS = {"train": 14, "valid": 2, "test": 2}
"""Structures about each image of each band."""

STEP = 0.005
"""Displacement in Å for second derivatives by differences."""


def main() -> None:
    """Find the path, sample structures around it, label them, and write all files."""
    DATA.mkdir(exist_ok=True)
    enol, keto = (relaxed(positions) for positions in (ENOL, KETO))
    bands = [guess_saddle(enol, keto, images=IMAGES, max_steps=n) for n in STAGES]
    for number, (split, count) in enumerate(COUNTS.items()):
        rng = np.random.default_rng(number)
        frames = isolated_atoms("HCO", METHOD) if split == "train" else []
        for steps, guess in zip(STAGES, bands, strict=True):
            frames += sampled(guess.band, count, f"band_{steps}", rng)
        save(DATA / f"vinyl_alcohol_{split}.xyz", frames)
    top = bands[-1]
    save(DATA / "vinyl_alcohol_stationary.xyz", stationary(top.atoms, top.direction))


def sampled(
    band: Sequence[Atoms], count: int, group: str, rng: np.random.Generator
) -> list[Atoms]:
    frames = [
        label(atoms, METHOD, group)
        for image in band
        for atoms in displaced(image, count, rng)
    ]
    return [f for f in frames if np.abs(f.arrays["REF_forces"]).max() < STRONGEST]


def calculator() -> TBLite:
    return TBLite(method=METHOD, verbosity=0, accuracy=0.05)


def relaxed(positions: list[tuple[float, float, float]]) -> Atoms:
    atoms = Atoms(SYMBOLS, positions)
    atoms.calc = calculator()
    return with_calculator(relax(atoms, differences).atoms)


def with_calculator(atoms: Atoms) -> Atoms:
    atoms.calc = calculator()
    return atoms


def differences(atoms: Atoms) -> NDArray[np.float64]:
    """Second derivatives by central differences of forces, in eV/Å^2."""
    moved = Atoms(atoms.symbols, atoms.positions)
    moved.calc = atoms.calc
    hessian = np.zeros((len(atoms), 3, len(atoms), 3))
    for i, k in np.ndindex(len(atoms), 3):
        sides = []
        for sign in (1, -1):
            positions = atoms.positions.copy()
            positions[i, k] += sign * STEP
            moved.set_positions(positions)
            sides.append(moved.get_forces())
        hessian[i, k] = (sides[1] - sides[0]) / (2 * STEP)
    return hessian


def displaced(image: Atoms, count: int, rng: np.random.Generator) -> Iterator[Atoms]:
    """Classical thermal displacements along the normal modes of an image."""
    masses = image.get_masses()
    root = np.repeat(np.sqrt(masses), 3)
    n = 3 * len(image)
    mobile = with_calculator(image.copy())
    hessian = differences(mobile).reshape(n, n)
    hessian = (hessian + hessian.T) / 2
    basis = internal_basis(image, masses, rigid_motions(mobile, hessian))
    curvatures, vectors = np.linalg.eigh(
        basis.T @ (hessian / root[:, None] / root) @ basis
    )
    modes = (basis @ vectors) / root[:, None]
    # The curvature of a displacement of unit length is bounded from below.
    floor = SOFTEST * np.sum(modes**2, axis=0)
    stiffness = np.maximum(np.abs(curvatures), floor)
    for temperature in rng.choice(TEMPERATURES, count):
        width = np.sqrt(units.kB * temperature / stiffness)
        shift = modes @ (width * rng.standard_normal(len(stiffness)))
        yield Atoms(image.symbols, image.positions + shift.reshape(-1, 3))


def stationary(guess: Atoms, direction: NDArray[np.float64]) -> list[Atoms]:
    """Saddle point of GFN2-xTB and the two minima at the ends of its path."""
    saddle = find_saddle(with_calculator(guess), differences, direction=direction)
    if not saddle.is_transition_state:
        raise ValueError(f"expected a transition state, got {saddle}")
    top = with_calculator(saddle.atoms)
    path = reaction_path(top, differences)
    ends = [
        with_calculator(relax(with_calculator(path.frames[k]), differences).atoms)
        for k in (0, -1)
    ]
    # The direction of the path is arbitrary; the enol has the hydroxyl group.
    ends.sort(key=lambda atoms: atoms.get_distance(0, 3))
    frames = []
    for name, atoms in zip(
        ("enol", "saddle", "keto"), (ends[0], top, ends[1]), strict=True
    ):
        modes = vibrations(atoms, differences)
        frame = label(atoms, METHOD, name)
        frame.info["zero_point_energy"] = round(modes.zero_point_energy, 5)
        frame.info["lowest_per_cm"] = round(float(modes.frequencies[0]), 2)
        frames.append(frame)
        print(name, frame.info, flush=True)
    return frames


if __name__ == "__main__":
    main()
