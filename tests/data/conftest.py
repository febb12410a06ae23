"""Small labeled sets whose labels are right by construction."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.io import write

Writer = Callable[..., Path]


def label(atoms: Atoms, calculator, *, stress: bool) -> Atoms:
    """Copy with REF_ labels of a calculator."""
    labeled = atoms.copy()
    labeled.calc = calculator
    labeled.info["REF_energy"] = labeled.get_potential_energy()
    labeled.arrays["REF_forces"] = labeled.get_forces()
    if stress:
        labeled.info["REF_stress"] = labeled.get_stress(voigt=False)
    labeled.calc = None
    return labeled


def strained_metals(count: int, seed: int = 0) -> list[Atoms]:
    """Copper and silver-copper crystals, strained and rattled, labeled by EMT."""
    rng = np.random.default_rng(seed)
    frames = []
    for n in range(count):
        atoms = bulk("Cu", "fcc", a=3.7, cubic=True).repeat((2, 2, 1))
        if n % 2:
            atoms.numbers[rng.choice(len(atoms), 4, replace=False)] = 47
        strain = rng.normal(scale=0.03, size=(3, 3))
        atoms.set_cell(atoms.cell @ (np.eye(3) + (strain + strain.T) / 2), True)
        atoms.positions += rng.normal(scale=0.08, size=atoms.positions.shape)
        frames.append(label(atoms, EMT(), stress=True))
    return frames


def shaken_molecules(count: int, seed: int = 0) -> list[Atoms]:
    """Methanol with random displacements, labeled by a smooth pair potential.

    Its bonds are about as stiff as those of methanol, or units would be doubted.
    """
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = molecule("CH3OH")
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
        calculator = LennardJones(sigma=1.2, epsilon=0.0135, rc=8.0, smooth=True)
        frames.append(label(atoms, calculator, stress=False))
    return frames


@pytest.fixture(scope="session")
def metals() -> list[Atoms]:
    return strained_metals(40)


@pytest.fixture(scope="session")
def molecules() -> list[Atoms]:
    return shaken_molecules(40)


@pytest.fixture
def write_frames(tmp_path: Path) -> Writer:
    """Write frames as extxyz and return the path."""

    def write_to(frames: list[Atoms], name: str = "train.xyz") -> Path:
        write(tmp_path / name, frames, format="extxyz")
        return tmp_path / name

    return write_to
