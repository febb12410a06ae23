"""Make data/dry_ice_*.xyz: strained crystals of CO2 at several temperatures, GFN1-xTB.

OMP_NUM_THREADS=1 python scripts/generate_periodic_data.py

GFN1-xTB because it is ten times cheaper than GFN2-xTB under periodic boundaries.
"""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from ase.spacegroup import crystal
from tblite.ase import TBLite
from xtb import isolated_atoms, label, sample, save

METHOD = "GFN1-xTB"
DATA = Path(__file__).parents[1] / "data"

EDGE = 5.50
"""Edge of the cubic cell (Pa-3) near the minimum of the energy, in Å."""

SPLITS = {
    "train": ((100.0, 200.0, 300.0), 18),
    "valid": ((100.0, 200.0, 300.0), 3),
    "test": ((100.0, 200.0, 300.0), 3),
    "test_500K": ((500.0,), 3),
}
"""Temperatures (K), taken in turn, and trajectories, each in a cell of its own."""

FRAMES = 8
"""Structures of one trajectory."""

EQUATION_OF_STATE = np.linspace(5.2, 5.8, 9)
"""Edges of the cubic cell with relaxed molecules, in Å."""


def main() -> None:
    """Sample, label and write every split, and the equation of state."""
    DATA.mkdir(exist_ok=True)
    for split_number, (split, (temperatures, trajectories)) in enumerate(
        SPLITS.items()
    ):
        frames = isolated_atoms("CO", METHOD) if split == "train" else []
        for number in range(trajectories):
            seed = 100 * split_number + number
            frames += trajectory(temperatures[number % len(temperatures)], seed)
        save(DATA / f"dry_ice_{split}.xyz", frames)
    cells = [relaxed(dry_ice(edge)) for edge in EQUATION_OF_STATE]
    frames = [label(atoms * (2, 1, 1), METHOD, "static") for atoms in cells]
    save(DATA / "dry_ice_equation_of_state.xyz", frames)


def dry_ice(edge: float) -> Atoms:
    """Four molecules in a cubic cell, space group Pa-3, bonds of 1.16 Å."""
    oxygen = 1.16 / np.sqrt(3) / edge
    return crystal(
        ["C", "O"],
        [(0, 0, 0), (oxygen, oxygen, oxygen)],
        spacegroup=205,
        cellpar=[edge, edge, edge, 90, 90, 90],
    )


def relaxed(atoms: Atoms) -> Atoms:
    """Structure with relaxed positions in the same cell."""
    atoms = atoms.copy()
    atoms.calc = TBLite(method=METHOD, verbosity=0, accuracy=0.05)
    BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
    return atoms


def trajectory(temperature: float, seed: int) -> list[Atoms]:
    """Labeled structures at one temperature in one randomly strained cell.

    Edges change by up to 4 % together and by up to 2 % each; shears reach 4 %.
    """
    rng = np.random.default_rng(seed)
    strain = np.diag(rng.uniform(-0.04, 0.04) + rng.uniform(-0.02, 0.02, 3))
    strain[np.triu_indices(3, k=1)] = rng.uniform(-0.04, 0.04, 3)
    atoms = dry_ice(EDGE) * (2, 1, 1)
    atoms.set_cell(atoms.cell @ (np.eye(3) + strain), scale_atoms=True)
    atoms.set_cell(np.round(atoms.cell.array, 8))
    frames = sample(
        atoms,
        METHOD,
        temperature=temperature,
        timestep=1.5,
        equilibrate=80,
        spacing=15,
        count=FRAMES,
        seed=seed,
    )
    return [label(frame, METHOD, f"{temperature:.0f}K") for frame in frames]


if __name__ == "__main__":
    main()
