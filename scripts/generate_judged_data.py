"""Generate runs/judges/data/*.xyz: training data of the models for external tests.

    python scripts/generate_judged_data.py

Copper: strained and rattled cells with energies, forces and stress of
effective-medium theory. Pairs: clusters of ten elements with those of a closed form.
"""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.data import covalent_radii
from ase.io import write
from ase.stress import voigt_6_to_full_3x3_stress
from judges.teachers import MorsePairs, metal

FOLDER = Path("runs/judges/data")
SPLITS = {"train": 1.0, "valid": 0.1, "test": 0.1}
"""Sizes relative to those below."""
SEED = 20261121

COPPER_EDGE = 3.59
"""Near the minimum of the cubic cell, in Å."""
CRYSTALS = 300

ELEMENTS = ("H", "C", "N", "O", "Ne", "Al", "Si", "S", "Fe", "Ni")
"""All that the judges ask of one model for molecules, surfaces and batches."""
CLUSTERS = 1200


def main() -> None:
    """Write train, valid and test of both sets."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    of_copper, of_pairs = np.random.default_rng(SEED).spawn(2)
    for split, share in SPLITS.items():
        copper = [strained_copper(of_copper) for _ in range(round(CRYSTALS * share))]
        pairs = [cluster(of_pairs) for _ in range(round(CLUSTERS * share))]
        if split == "train":
            copper.append(Atoms("Cu"))
            pairs += [Atoms(symbol) for symbol in ELEMENTS]
        save(FOLDER / f"copper_{split}.xyz", [label(a, metal()) for a in copper])
        save(FOLDER / f"pairs_{split}.xyz", [label(a, MorsePairs()) for a in pairs])


def strained_copper(rng: np.random.Generator) -> Atoms:
    """Crystal with random edge, shear and displacements.

    One half is near the minimum, where elastic constants and phonons are measured, the
    other half spans edges of 12 % about it, the range of equations of state. One
    crystal in four is not displaced.
    """
    near = rng.random() < 0.5
    edge, shear, displacement = (0.03, 0.03, 0.08) if near else (0.12, 0.05, 0.12)
    cubic, copies = [(True, 1), (False, 2), (True, 2)][rng.choice(3, p=[0.5, 0.4, 0.1])]
    atoms = bulk("Cu", "fcc", a=COPPER_EDGE, cubic=cubic) * (copies, copies, copies)
    strain = rng.uniform(-shear, shear, (3, 3))
    strain = (1 + rng.uniform(-edge, edge)) * (np.eye(3) + (strain + strain.T) / 2)
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    if rng.random() < 0.75:
        size = rng.uniform(0.01, displacement)
        atoms.positions += rng.normal(0, size, (len(atoms), 3))
    return atoms


def cluster(rng: np.random.Generator) -> Atoms:
    """Clusters of two to six atoms at compressed, normal and stretched distances."""
    symbols = rng.choice(ELEMENTS, rng.integers(2, 7))
    atoms = Atoms(symbols[0], [np.zeros(3)])
    while len(atoms) < len(symbols):
        new = Atoms(symbols[len(atoms)])
        bonded = rng.integers(len(atoms))
        bond = covalent_radii[[atoms.numbers[bonded], new.numbers[0]]].sum()
        direction = rng.normal(size=3)
        direction /= np.linalg.norm(direction)
        distance = bond * rng.choice([rng.uniform(0.7, 1.5), rng.uniform(0.7, 3.0)])
        new.positions[0] = atoms.positions[bonded] + distance * direction
        gaps = np.linalg.norm(atoms.positions - new.positions[0], axis=1)
        bonds = covalent_radii[atoms.numbers] + covalent_radii[new.numbers[0]]
        if (gaps > 0.69 * bonds).all():
            atoms += new
    return atoms


def label(atoms: Atoms, teacher: Calculator) -> Atoms:
    """Copy with labels under the keys of extended XYZ."""
    frame = atoms.copy()
    frame.info["REF_energy"] = teacher.get_potential_energy(atoms)
    frame.arrays["REF_forces"] = teacher.get_forces(atoms)
    if atoms.pbc.all():
        stress = voigt_6_to_full_3x3_stress(teacher.get_stress(atoms))
        frame.info["REF_stress"] = stress.ravel()
    frame.info["config_type"] = "IsolatedAtom" if len(atoms) == 1 else "any"
    return frame


def save(path: Path, frames: list[Atoms]) -> None:
    write(path, frames, format="extxyz")
    print(f"{path}: {len(frames)} structures", flush=True)


if __name__ == "__main__":
    main()
