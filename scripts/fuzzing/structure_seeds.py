"""Small structures in all formats that ASE writes, and outputs of VASP by hand."""

import gzip
import io
import json
import os
import re
import sqlite3
import tempfile
import warnings
from contextlib import closing
from pathlib import Path

import ase.db
import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write
from ase.io.trajectory import Trajectory

WRITTEN = (
    "aims", "cfg", "cif", "crystal", "cube", "dlp4", "dmol-car",
    "gaussian-in", "gen",
    "jsv", "lammps-data", "magres", "onetep-in", "proteindatabank",
    "res", "rmc6f", "runnerdata", "struct", "turbomole", "v-sim", "vasp",
    "vasp-xdatcar", "xsd", "xsf", "castep-geom", "castep-md", "dmol-arc",
)  # fmt: skip
"""Formats of ASE that it writes and we let it read."""


DATE = rb"[A-Z][a-z]{2} [A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d 20\d\d"


def structure_seeds() -> dict[str, tuple[str, bytes]]:
    """File name and contents by format."""
    seeds: dict[str, tuple[str, bytes]] = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in WRITTEN:
            path = Path(folder, f"case.{name}")
            options = {"masses": True} if name == "lammps-data" else {}
            for atoms in (_crystal(), _labeled_crystal(), _water()):
                try:
                    write(path, atoms, format=name, **options)
                except Exception:  # this format needs another structure
                    path.unlink(missing_ok=True)
                    continue
                seeds[name] = (path.name, _anywhere(path.read_bytes()))
                break
        _own_formats(Path(folder), seeds)
    extxyz = seeds["extxyz"][1]
    seeds["extxyz.gz"] = ("case.xyz.gz", gzip.compress(extxyz, mtime=0))
    seeds["vasp-out"] = ("OUTCAR", OUTCAR.encode())
    seeds["vasp-xml"] = ("vasprun.xml", VASPRUN.encode())
    seeds["lammps-dump-text"] = ("case.lammps-dump-text", DUMP.encode())
    seeds["xyz"] = ("plain.xyz", b"3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n")
    seeds["espresso-in"] = ("case.espresso-in", ESPRESSO.encode())
    seeds["mol"] = ("case.mol", MOL.encode())
    seeds["sdf"] = ("case.sdf", MOL.encode() + b"$$$$\n")
    return seeds


def _own_formats(folder: Path, seeds: dict[str, tuple[str, bytes]]) -> None:
    labeled = [_labeled_crystal(), _labeled_water()]
    buffer = io.StringIO()
    write(buffer, labeled, format="extxyz")
    seeds["extxyz"] = ("case.xyz", buffer.getvalue().encode())
    hessian = 5 * np.eye(6)
    plain = Atoms("H2", [[0, 0, 0], [0, 0, 0.75]])
    plain.info |= {"REF_energy": -1.0, "REF_hessian": hessian.reshape(-1)}
    plain.arrays["REF_forces"] = np.zeros((2, 3))
    alone = Atoms("H", info={"REF_energy": -0.5, "config_type": "IsolatedAtom"})
    buffer = io.StringIO()
    write(buffer, [plain, alone], format="extxyz")
    seeds["extxyz labels"] = ("case.extxyz", buffer.getvalue().encode())
    with Trajectory(str(folder / "case.traj"), "w") as trajectory:
        for atoms in labeled:
            trajectory.write(atoms)
    seeds["traj"] = ("case.traj", (folder / "case.traj").read_bytes())
    for suffix in ("db", "json"):
        path = folder / f"case.{suffix}"
        with ase.db.connect(str(path), append=False, serial=True) as database:
            for atoms in labeled:
                database.write(atoms, REF_energy=-3.0, data={"a": np.eye(3)})
        _without_times(path)
        seeds[suffix] = (path.name, path.read_bytes())


def _anywhere(data: bytes) -> bytes:
    """Text without the time and the folder that it was written in."""
    data = data.replace(os.getcwd().encode(), b"folder")
    data = re.sub(DATE, b"Sat Jan  1 00:00:00 2000", data)
    data = re.sub(rb"[A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d 20\d\d", b"Jan 1 2000", data)
    return re.sub(rb"\d\d-\d\d-20\d\d", b"01-01-2000", data)


def _without_times(path: Path) -> None:
    """Take from a database what is another at each time that it is written."""
    if path.suffix == ".json":
        rows = json.loads(path.read_text())
        for number in ("1", "2"):
            rows[number] |= {"ctime": 1.0, "mtime": 1.0, "unique_id": number * 32}
            rows[number]["user"] = "fuzz"
        path.write_text(json.dumps(rows, indent=1))
        return
    with closing(sqlite3.connect(path)) as connection:
        with connection:
            connection.execute(
                "UPDATE systems SET ctime = 1.0, mtime = 1.0, username = 'fuzz', "
                "unique_id = 'x' || id"
            )
        connection.execute("VACUUM")


def _crystal() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)[:4]
    atoms.rattle(0.05, seed=1)
    return atoms


def _labeled_crystal() -> Atoms:
    atoms = _crystal()
    atoms.set_constraint(FixAtoms([0]))
    atoms.set_momenta(np.full((len(atoms), 3), 0.1))
    atoms.set_tags(range(len(atoms)))
    forces = np.full((len(atoms), 3), 0.25)
    atoms.calc = SinglePointCalculator(
        atoms, energy=-3.5, forces=forces, stress=np.array([1, 2, 3, 0, 0, 0.5]) / 100
    )
    return atoms


def _water() -> Atoms:
    atoms = molecule("H2O")
    atoms.center(vacuum=3)
    return atoms


def _labeled_water() -> Atoms:
    atoms = _water()
    atoms.info["config_type"] = "water"
    atoms.calc = SinglePointCalculator(atoms, energy=-14.0, forces=np.zeros((3, 3)))
    return atoms


ESPRESSO = """&SYSTEM
  ibrav = 0
  ntyp = 1
  nat = 2
/
ATOMIC_SPECIES
Si 28.085 Si.upf

CELL_PARAMETERS angstrom
0.0 2.7 2.7
2.7 0.0 2.7
2.7 2.7 0.0

ATOMIC_POSITIONS angstrom
Si 0.0 0.0 0.0
Si 1.35 1.35 1.35 0 0 0
"""
DUMP = """ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp pp
0.0 4.0
0.0 4.0
0.0 4.0
ITEM: ATOMS id type element x y z vx vy vz fx fy fz
1 1 H 0.0 0.0 0.0 0.1 0.2 0.3 0.0 0.0 1.0
2 2 O 1.0 0.0 1.5 0.1 0.2 0.3 0.0 0.0 -1.0
"""
MOL = """water
  fuzz

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.1190 O   0  0  0  0  0  0  0  0  0  0  0  0
    0.0000    0.7630   -0.4770 H   0  0  0  0  0  0  0  0  0  0  0  0
    0.0000   -0.7630   -0.4770 H   0  0  0  0  0  0  0  0  0  0  0  0
  1  2  1  0  0  0  0
  1  3  1  0  0  0  0
M  END
"""
OUTCAR = """ vasp.5.4.4 18Apr17 (build) complex
 POTCAR:    PAW_PBE H 15Jun2001
 POTCAR:    PAW_PBE H 15Jun2001
   ISPIN  =      1    spin polarized calculation?
   ions per type =               2

--------------------------------------- Iteration      1(   1)  ------------------

      direct lattice vectors                 reciprocal lattice vectors
     8.000000000  0.000000000  0.000000000     0.125000000  0.000000000  0.000000000
     0.000000000  8.000000000  0.000000000     0.000000000  0.125000000  0.000000000
     0.000000000  0.000000000  8.000000000     0.000000000  0.000000000  0.125000000
  in kB       1.00000     2.00000     3.00000     0.00000     0.00000     0.00000

 POSITION                                       TOTAL-FORCE (eV/Angst)
 -----------------------------------------------------------------------------------
      0.00000      0.00000      0.00000         0.000000      0.000000     -0.500000
      0.00000      0.00000      0.75000         0.000000      0.000000      0.500000
 -----------------------------------------------------------------------------------
    total drift:                                0.000000      0.000000      0.000000

  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)
  ---------------------------------------------------
  free  energy   TOTEN  =        -6.77000000 eV

  energy  without entropy=       -6.77000000  energy(sigma->0) =       -6.77000000
"""
VASPRUN = """<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
 <incar><i name="ENCUT">400.0</i></incar>
 <kpoints><generation param="Gamma"><v type="int" name="divisions">1 1 1</v>
  </generation><varray name="kpointlist"><v>0 0 0</v></varray>
  <varray name="weights"><v>1.0</v></varray></kpoints>
 <parameters><separator name="electronic"><i name="ENMAX">400.0</i></separator>
 </parameters>
 <atominfo><atoms>2</atoms><types>1</types>
  <array name="atoms"><set><rc><c>H </c><c>1</c></rc><rc><c>H </c><c>1</c></rc></set>
  </array></atominfo>
 <structure name="initialpos"><crystal><varray name="basis">
   <v>8 0 0</v><v>0 8 0</v><v>0 0 8</v></varray></crystal>
  <varray name="positions"><v>0 0 0</v><v>0 0 0.1</v></varray></structure>
 <calculation>
  <scstep><energy><i name="e_fr_energy">-6.77</i><i name="e_wo_entrp">-6.77</i>
   <i name="e_0_energy">-6.77</i></energy></scstep>
  <structure><crystal><varray name="basis"><v>8 0 0</v><v>0 8 0</v><v>0 0 8</v>
   </varray></crystal>
   <varray name="positions"><v>0 0 0</v><v>0 0 0.1</v></varray></structure>
  <varray name="forces"><v>0 0 -0.5</v><v>0 0 0.5</v></varray>
  <varray name="stress"><v>1 0 0</v><v>0 2 0</v><v>0 0 3</v></varray>
  <energy><i name="e_fr_energy">-6.77</i><i name="e_wo_entrp">-6.77</i>
   <i name="e_0_energy">-6.77</i></energy>
 </calculation>
</modeling>
"""
