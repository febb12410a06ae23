"""Thermal structures and labels from extended tight binding (tblite)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import write
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from tblite.ase import TBLite

MULTIPLICITY = {"H": 2, "C": 3, "N": 4, "O": 3}
"""Ground-state multiplicities of the isolated atoms."""


def sample(
    atoms: Atoms,
    method: str,
    *,
    temperature: float,
    timestep: float,
    equilibrate: int,
    spacing: int,
    count: int,
    seed: int,
) -> Iterator[Atoms]:
    """Structures of one Langevin trajectory at constant cell.

    Args:
        atoms: Start; left as it is.
        method: Name of the method, as tblite spells it.
        temperature: In K.
        timestep: In fs.
        equilibrate: Steps to discard first.
        spacing: Steps between structures.
        count: Structures to yield.
        seed: Of initial velocities and of the thermostat.

    Yields:
        Structures with positions rounded to 1e-6 Å, without labels.
    """
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    atoms.calc = TBLite(method=method, verbosity=0)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=temperature,
        friction=0.02 / units.fs,
        rng=rng,
        fixcm=False,
    )
    dynamics.run(equilibrate)
    for _ in range(count):
        dynamics.run(spacing)
        frame = Atoms(atoms.symbols, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
        frame.positions = np.round(frame.positions, 6)
        yield frame


def label(atoms: Atoms, method: str, config_type: str) -> Atoms:
    """Copy of a structure with labels under the keys of extended XYZ.

    The self-consistent field starts from scratch and converges twenty times tighter
    than by default, so that a label depends on the written structure alone.

    Args:
        atoms: Structure; positions are rounded to 1e-6 Å and the cell to 1e-8 Å first.
        method: Name of the method, as tblite spells it.
        config_type: Group that errors are reported for.

    Returns:
        Structure with `REF_energy` (eV), `REF_forces` (eV/Å) and, if it is periodic,
        `REF_stress` (nine numbers, eV/Å^3, positive in tension).
    """
    frame = Atoms(
        atoms.symbols,
        np.round(atoms.positions, 6),
        cell=np.round(atoms.cell.array, 8),
        pbc=atoms.pbc,
    )
    state = (
        {"multiplicity": MULTIPLICITY[str(atoms.symbols)]} if len(atoms) == 1 else {}
    )
    calculator = TBLite(method=method, verbosity=0, accuracy=0.05, **state)
    frame.info["REF_energy"] = round(calculator.get_potential_energy(frame), 6)
    frame.arrays["REF_forces"] = np.round(calculator.get_forces(frame), 6)
    if frame.pbc.all():
        stress = calculator.get_stress(frame)
        xx, yy, zz, yz, xz, xy = np.round(stress, 8)
        frame.info["REF_stress"] = np.array([xx, xy, xz, xy, yy, yz, xz, yz, zz])
    frame.info["config_type"] = config_type
    return frame


def isolated_atoms(symbols: Sequence[str], method: str) -> list[Atoms]:
    """Labeled isolated atoms in their ground-state multiplicity."""
    return [label(Atoms(symbol), method, "IsolatedAtom") for symbol in symbols]


def save(path: Path, frames: Sequence[Atoms]) -> None:
    """Write extended XYZ and print the number of structures."""
    write(path, frames, format="extxyz")
    print(f"{path}: {len(frames)} structures", flush=True)
