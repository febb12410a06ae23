"""Small structures in every format that can be made without another program."""

import gzip
import tempfile
import warnings
from functools import cache
from pathlib import Path

import ase.db
import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write

WRITTEN = (
    "aims", "cfg", "cif", "crystal", "cube", "dlp4", "dmol-car", "gaussian-in", "gen",
    "jsv", "lammps-data", "magres", "onetep-in", "proteindatabank", "res", "rmc6f",
    "runnerdata", "struct", "turbomole", "v-sim", "vasp", "vasp-xdatcar", "xsd", "xsf",
    "castep-geom", "castep-md", "dmol-arc",
)  # fmt: skip
"""Formats that ASE writes and equipot reads."""
FILES = Path(__file__).parents[2] / "tests" / "files" / "structures"
"""Small files in formats that ASE does not write."""


@cache
def structure_seeds() -> dict[str, tuple[str, bytes]]:
    """File name and contents by format."""
    seeds = {path.name: (path.name, path.read_bytes()) for path in FILES.iterdir()}
    seeds["vasp-xml"] = seeds.pop("vasprun.xml")
    frames = [_crystal(), _water()]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in WRITTEN:
            path = Path(folder, f"case.{name}")
            _write_one(path, name)
            seeds[name] = (path.name, path.read_bytes())
        own = {"extxyz": frames, "traj": frames, "extxyz labels": _labeled()}
        for name, content in own.items():
            path = Path(folder, f"case.{name.split()[0]}")
            write(path, content)
            seeds[name] = (path.name, path.read_bytes())
        for name in ("db", "json"):
            path = Path(folder, f"rows.{name}")
            with ase.db.connect(path, append=False, serial=True) as database:
                for atoms in frames:
                    database.write(atoms, REF_energy=-3.0, data={"a": np.eye(3)})
            seeds[name] = (path.name, path.read_bytes())
    seeds["extxyz.gz"] = ("case.xyz.gz", gzip.compress(seeds["extxyz"][1], mtime=0))
    return seeds


def _write_one(path: Path, name: str) -> None:
    """Write the first structure that the format takes."""
    options = {"masses": True} if name == "lammps-data" else {}
    plain = Atoms(
        _crystal().symbols, _crystal().positions, cell=_crystal().cell, pbc=True
    )
    for atoms in (plain, _crystal(), _water()):
        try:
            write(path, atoms, format=name, **options)
        except Exception:  # the format needs labels, or no cell
            continue
        return
    raise ValueError(f"ASE writes no structure as {name}")


def _crystal() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)[:4]
    atoms.rattle(0.05, seed=1)
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_momenta(np.full((len(atoms), 3), 0.1))
    atoms.set_tags(range(len(atoms)))
    forces, stress = np.full((len(atoms), 3), 0.25), np.array([1, 2, 3, 0, 0, 0.5])
    atoms.calc = SinglePointCalculator(
        atoms, energy=-3.5, forces=forces, stress=stress / 100
    )
    return atoms


def _water() -> Atoms:
    atoms = molecule("H2O")
    atoms.center(vacuum=3)
    atoms.info["config_type"] = "water"
    atoms.calc = SinglePointCalculator(atoms, energy=-14.0, forces=np.zeros((3, 3)))
    return atoms


def _labeled() -> list[Atoms]:
    """H2 with a Hessian, and the free atom."""
    pair = Atoms("H2", [[0, 0, 0], [0, 0, 0.75]])
    pair.info |= {"REF_energy": -1.0, "REF_hessian": 5 * np.eye(6).reshape(-1)}
    pair.arrays["REF_forces"] = np.zeros((2, 3))
    free = Atoms("H", info={"REF_energy": -0.5, "config_type": "IsolatedAtom"})
    return [pair, free]
