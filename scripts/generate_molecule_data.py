"""Make data/alanine_dipeptide_*.xyz: a flexible molecule at 300 K and 600 K, GFN2-xTB.

OMP_NUM_THREADS=1 python scripts/generate_molecule_data.py
"""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.optimize import BFGS
from numpy.typing import NDArray
from tblite.ase import TBLite
from xtb import isolated_atoms, label, sample, save

METHOD = "GFN2-xTB"
DATA = Path(__file__).parents[1] / "data"

# Ac-Ala-NHMe as a Z-matrix: symbol; bonded to, distance (Å); angle with, degrees;
# dihedral with, degrees. "phi" and "psi" are the backbone torsions.
Z_MATRIX: list[tuple] = [
    ("C",),  # 0  methyl of acetyl
    ("C", 0, 1.51),  # 1  carbonyl
    ("O", 1, 1.22, 0, 121.0),
    ("N", 1, 1.35, 0, 116.0, 2, 180.0),  # 3
    ("C", 3, 1.45, 1, 122.0, 0, 180.0),  # 4  alpha carbon
    ("C", 4, 1.53, 3, 110.0, 1, "phi"),  # 5  carbonyl
    ("O", 5, 1.22, 4, 121.0, 3, "psi+180"),
    ("N", 5, 1.35, 4, 116.0, 3, "psi"),  # 7
    ("C", 7, 1.45, 5, 122.0, 4, 180.0),  # 8  methyl of the amide
    ("C", 4, 1.53, 3, 110.0, 1, "phi-122"),  # 9  side chain, L configuration
    ("H", 4, 1.09, 3, 108.0, 1, "phi+118"),
    ("H", 3, 1.01, 1, 119.0, 0, 0.0),
    ("H", 7, 1.01, 5, 119.0, 4, 0.0),
    *[("H", 0, 1.09, 1, 110.0, 3, angle) for angle in (60.0, 180.0, 300.0)],
    *[("H", 9, 1.09, 4, 110.0, 3, angle) for angle in (60.0, 180.0, 300.0)],
    *[("H", 8, 1.09, 7, 110.0, 5, angle) for angle in (60.0, 180.0, 300.0)],
]

CONFORMERS = [(-83, 73), (-155, 160), (75, -60), (-85, -20), (-130, 30)]
"""C7eq, C5, C7ax, alpha-R and beta-2, as (phi, psi) in degrees."""

SPLITS = {
    "train": (300.0, 80),
    "valid": (300.0, 20),
    "test_300K": (300.0, 20),
    "test_600K": (600.0, 24),
}
"""Temperature (K) and structures per conformer, from trajectories of their own."""


def main() -> None:
    """Sample, label and write every split."""
    DATA.mkdir(exist_ok=True)
    starts = [relaxed(build(*torsions)) for torsions in CONFORMERS]
    for split_number, (split, (temperature, count)) in enumerate(SPLITS.items()):
        frames = isolated_atoms("HCNO", METHOD) if split == "train" else []
        for conformer, start in enumerate(starts):
            trajectory = sample(
                start,
                METHOD,
                temperature=temperature,
                timestep=1.0,
                equilibrate=500,
                spacing=100,
                count=count,
                seed=100 * split_number + conformer,
            )
            config_type = f"{temperature:.0f}K"
            frames += [label(frame, METHOD, config_type) for frame in trajectory]
        save(DATA / f"alanine_dipeptide_{split}.xyz", frames)


def build(phi: float, psi: float) -> Atoms:
    """Alanine dipeptide with given backbone torsions in degrees."""
    torsions: dict[object, float] = {
        "phi": phi,
        "phi-122": phi - 122,
        "phi+118": phi + 118,
        "psi": psi,
        "psi+180": psi + 180,
    }
    positions: list[NDArray[np.float64]] = []
    for _, *internal in Z_MATRIX:
        positions.append(_place(positions, [torsions.get(x, x) for x in internal]))
    return Atoms([row[0] for row in Z_MATRIX], positions)


def _place(positions: list[NDArray[np.float64]], internal: list) -> NDArray[np.float64]:
    if not internal:
        return np.zeros(3)
    bonded, distance, *internal = internal
    if not internal:
        return positions[bonded] + np.array([distance, 0.0, 0.0])
    bent, angle, *internal = internal
    axis = positions[bent] - positions[bonded]
    axis /= np.linalg.norm(axis)
    twisted, dihedral = internal or (None, 0.0)
    reference = (
        np.eye(3)[1] if twisted is None else positions[twisted] - positions[bent]
    )
    side = reference - reference @ axis * axis
    side /= np.linalg.norm(side)
    theta, chi = np.deg2rad([angle, dihedral])
    across = np.cos(chi) * side + np.sin(chi) * np.cross(side, axis)
    return positions[bonded] + distance * (
        np.cos(theta) * axis + np.sin(theta) * across
    )


def relaxed(atoms: Atoms) -> Atoms:
    """Structure pre-relaxed from the ideal geometry within its own basin."""
    atoms.calc = TBLite(method=METHOD, verbosity=0)
    BFGS(atoms, logfile=None).run(fmax=0.2, steps=50)
    n, alpha, carbonyl, side = atoms.positions[[3, 4, 5, 9]]
    if np.dot(np.cross(n - alpha, carbonyl - alpha), side - alpha) < 0:
        raise ValueError("expected L-alanine, got the D form: check Z_MATRIX")
    return atoms


if __name__ == "__main__":
    main()
