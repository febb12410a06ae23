"""Structure files that lie about their size, run code, or are inconsistent."""

import bz2
import gzip
import json
import lzma
import os
import pickle
import sqlite3
import struct
import subprocess
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import ase.db
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io.trajectory import Trajectory

from equipot.cli.structures import read_structure
from equipot.config.md import StructureConfig
from equipot.data.reading.errors import DataError
from equipot.data.reading.frames import iterate_frames
from equipot.data.reading.labeled import read_structures
from equipot.md.start import read_structure as read_for_md


def extxyz(comment="", *rows, count=None):
    rows = rows or ("H 0 0 0",)
    return "\n".join([str(count or len(rows)), comment, *rows, ""])


def trajectory(place=0, number=0, **changes):
    """File of ASE's Ulm format with one frame; `number` overwrites eight bytes."""
    array = {"ndarray": [[1, 3], "float64", 0]}
    frame = {"version": 1, "ase_version": "3.29.0", "pbc": [False] * 3}
    frame |= {"positions.": array, "cell": [[0.0] * 3] * 3, **changes}
    text = json.dumps(frame).encode()
    head = b"- of UlmASE-Trajectory  " + struct.pack("<qqqq", 3, 1, 48, 56)
    content = head + struct.pack("<q", len(text)) + text
    if place:
        content = content[:place] + struct.pack("<q", number) + content[place + 8 :]
    return content


def positions(shape, dtype="float64", offset=0):
    return trajectory(**{"positions.": {"ndarray": [shape, dtype, offset]}})


HUGE = 10**12
BYTES = r"atoms in .* bytes"
WIDE = "Properties=species:S:1:pos:R:3"
BIG_CELL, SMALL_CELL = (f"{x} 0 0 0 {x} 0 0 0 {x}" for x in ("1e20", "1e-9"))
ENTRY = {"__ndarray__": [[10**9], "float64", [0]]}
FLOATS = {"numbers.": {"ndarray": [[1], "float64", 0]}}
CELL = "H\n1\n1 0 0\n0 1 0\n0 0 1\nH\n{}\nDirect\n0 0 0\n"
POSCAR = "{name}\n1\n3 0 0\n0 3 0\n0 0 3\n{line}{count}\nDirect\n0 0 0\n"
CIF = """data_x
_cell_length_a {}
_cell_length_b 1
_cell_length_c 1
_cell_angle_alpha {}
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_IT_number {}
loop_
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
H 0.1 0.2 0.3
"""
XML = '<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "{}">{}]><l>&{};</l>'
LAUGHS = [f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise("abcdefghijkl")]
LAMMPS = "x\n\n-1 atoms\n1 atom types\n0 1 xlo xhi\n\nAtoms # atomic\n\n1 1 0 0 0\n"
MOL = "x\n  y\n\n{:3}  1\n 0.0 0.0 0.0 H 0\n 0.0 0.0 1.0 H 0\n{}"
RMC = "Number of atoms: {}\nCell (Ang/deg): 4 4 4 90 90 90\nAtoms:\n1 H 0 0 0 0 0 0\n"
COUNT = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{}\n"
BOX = "ITEM: BOX BOUNDS ff ff ff\n0 4\n0 4\n0 4\n"
DUMP = COUNT.format(2) + BOX + "ITEM: ATOMS element x y z\nH 0 0 0\nH 0 0 1\n"
REFUSED = {
    "a.xyz": [
        (extxyz(count=HUGE), f"declares {HUGE} atoms, got 1"),
        (extxyz(count=10**30), "declares 1000000000000000000000000000000 atoms"),
        (extxyz(count="0"), "declares 0 atoms"),
        (extxyz(count=-1), "declares -1 atoms"),
        (extxyz(f"{WIDE}:x:R:900000000"), "declare 900000004 columns, atom 0 has 4"),
        (extxyz(f"{WIDE}:x:R:-1"), "NAME:TYPE:COLUMNS"),
        (extxyz(f"{WIDE}:pos:R:3", "H 0 0 0 1 1 1"), "names a column twice"),
        (extxyz(WIDE, "H 0 0 0", "H 0 0 1 5"), "atom 1 has 5"),
        (extxyz(f"{WIDE}:Z:I:1", "H 0 0 0 119"), "atomic number 119"),
        (extxyz(f"{WIDE}:Z:I:1", "H 0 0 0 0"), "atomic number 0"),
        (extxyz(WIDE, "X 0 0 0"), "atom 0 is 'X', a dummy atom"),
        (extxyz(WIDE, "H nan 0 0"), "position of atom 0 is not finite"),
        (extxyz(WIDE, "H 1e30 0 0"), "position of atom 0 is not finite, or more"),
        (extxyz(f"{WIDE}:momenta:R:3", "H 0 0 0 nan 0 0"), "momenta are not finite"),
        (extxyz(f"{WIDE}:masses:R:1", "H 0 0 0 0"), "mass of atom 0 is 0"),
        (extxyz(f"{WIDE}:masses:R:1", "H 0 0 0 inf"), "masses are not finite"),
        (extxyz('Lattice="nan 0 0 0 1 0 0 0 1"'), "cell is not finite"),
        (extxyz(f'Lattice="{BIG_CELL}"'), "cell is larger than"),
        (extxyz(f'Lattice="{SMALL_CELL}"'), "is the cell in Å"),
        (extxyz('config_type="a\x1b[31m"'), "printable characters"),
        (extxyz("Properties=species:S:1"), "has no positions"),
        (extxyz("Properties=pos:R:3", "0 0 0"), "has no elements"),
        (extxyz('Lattice="1 0 0 0 1 0"'), "nine numbers"),
        (extxyz('pbc="T T T T"'), "three of T and F"),
        (extxyz("REF_energy=1e400"), "infinite"),
        (extxyz("config_type=IsolatedAtom"), "needs an energy"),
        (extxyz("x=" + "[" * 100_000), "bracket after x= is not closed"),
        (extxyz('x="' + "{" * 30_000), "quote after x= is not closed"),
        (extxyz(" ".join(f"k{n}=1" for n in range(20_000))), "10000 keys"),
        ("9" * 5000 + "\n\nH 0 0 0\n", "expected a number of atoms"),
        ("\0" * 100, "expected a number of atoms"),
    ],
    "a.json": [
        ("[" * 100_000, "nested more than"),
        ('{"1": ' * 20_000, "nested more than"),
        ('{"ids": [1, 2], "nextid": 3}', "KeyError"),
        ('{"1": {"__ndarray__": [[9999999], "int8", [1]]}}', "1 entries"),
    ],
    "a.db": [
        ("SQLite format 3\0" + "\0" * 100, "not an? (SQLite )?database"),
        ("x", "not an? (SQLite )?database"),
    ],
    "a.traj": [
        (positions([10**9, 3]), "positions has 24000000000 bytes"),
        (positions([-1, 3]), "has the shape"),
        (positions([1, 3], "O"), "is an array of O"),
        (positions([1, 3], "S99999999"), "is an array of S9"),
        (positions([1, 3], offset=10**9), "at 1000000000 of"),
        (trajectory(**FLOATS), "atomic numbers"),
        (trajectory(info=ENTRY), "has 1 entries"),
        (trajectory(cell=ENTRY), "has 1 entries"),
        (trajectory(32, 2**60), "frames in"),
        (trajectory(48, 2**60), "begins at"),
        (trajectory(56, 2**60), "the text"),
        (b"PickleTrajectory Ulm" + b"\0" * 100, "old ones are pickles"),
    ],
    "POSCAR": [
        (CELL.format(-1), "negative"),
        (CELL.format(0), "has no atoms"),
        (CELL.format("1 " * 3000), "3000 numbers of atoms"),
        (POSCAR.format(name="H", line="H\n", count=HUGE), BYTES),
        (POSCAR.format(name="H999999999", line="", count=1), BYTES),
        (POSCAR.format(name="H", line="H\n", count=f"1 {HUGE} 0.5"), BYTES),
    ],
    "XDATCAR": [(POSCAR.format(name="H", line="H9999999\n", count=1), BYTES)],
    "OUTCAR": [(f"ions per type = {HUGE}\n Iteration \n", BYTES)],
    "vasprun.xml": [
        (XML.format("ha" * 50, "".join(LAUGHS), "l"), "ParseError"),
        (XML.format("", '<!ENTITY f SYSTEM "/x">', "f"), "undefined"),
        ("<a>" * 50_000, "no element found"),
    ],
    "a.cif": [
        (CIF.format("1e300", 90, 1), "not finite"),
        (CIF.format(1, 0, 225), "cannot be read as cif"),
        (CIF.format(1, 90, 999), "spacegroup"),
        (CIF.format("1(2", 90, "1" * 5000), "limit"),
        ("data_x\nloop_\n" * 2000, "contains no structure"),
        ("data_x\n;" + "a\n" * 20_000, "cannot be read as cif"),
    ],
    "a.gen": [
        ("3 C\nH\n1 1 0 0 0\n2 1 0 0 1\n", "declares 3 atoms, got 2"),
        ("2 S\nH\n1 1 0 0 0\n" + "0 0 0\n" * 4, "declares 2 atoms, got 1"),
        ("1 C\nH\n1 9 0 0 0\n", "KeyError"),
    ],
    "a.mol": [
        (MOL.format(9, ""), "declares 9 atoms, got 2"),
        (MOL.format(9, "M  END\n"), "declares 9 atoms, got 2"),
    ],
    "a.sdf": [(MOL.format(3, "  1  2  1  0  0\n"), "declares 3 atoms, got 2")],
    "a.rmc6f": [(RMC.format(2), "declares 2 atoms, got 1")],
    "CONFIG": [("x\n0 0 2\nH 1\n 0 0 0\n", "declares 2 atoms, got 1")],
    "a.lammps-data": [
        (LAMMPS, "atom types are not elements"),
        (f"a\n\n{HUGE} atoms\n\nAtoms\n\n1 1 0 0 0\n", BYTES),
    ],
    "a.lammps-dump-text": [
        (COUNT.format(HUGE), BYTES),
        (DUMP + DUMP.replace("H 0 0 1\n", ""), "declares 2 atoms, got 1"),
        (DUMP + COUNT.format(2) + BOX, "declares 2 atoms, got 0"),
    ],
    "a.cube": [
        (f"a\nb\n{HUGE} 0 0 0\n1 1 0 0\n1 0 1 0\n1 0 0 1\n1 0 0 0 0\n0\n", BYTES),
        ("a\nb\n1 0 0 0\n9999 1 0 0\n9999 0 1 0\n9999 0 0 1\n1 0 0 0 0\n0\n", BYTES),
    ],
    "a.jsv": [
        (f"[natom] 1\n[nbond] {HUGE}\n[npoly] 0\n[atoms]\nH1 1 0 0 0\n", BYTES),
        (f"[natom] 1\n[nbond] 0\n[npoly] {HUGE}\n[atoms]\nH1 1 0 0 0\n", BYTES),
    ],
    "a.xsf": [
        (f"ATOMS\n1 0 0 0\nANIMSTEPS {HUGE}\n", "cannot be read as xsf"),
        ("ANIMSTEPS 100000000\nATOMS 1\n1 0 0 0\n", "cannot be read as xsf"),
    ],
    "a.cfg": [(f"Number of particles = {HUGE}\nA = 1\nH0(1,1) = 1\n", BYTES)],
    "a.unknown": [("hello", "has no reader for format")],
    "a.py": [("import os; os.mkdir('canary')", "has no reader for format")],
}
"""Contents that are refused, and messages, by the name of the file."""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [(name, *case) for name, cases in REFUSED.items() for case in cases],
    ids=lambda value: str(value)[:40],
)
def test_files_made_to_break_parsers_are_refused(name, content, message, tmp_path):
    path = tmp_path / name
    before = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(before)

    with pytest.raises(DataError, match=message) as caught:
        read_structures(path)

    assert str(caught.value).startswith(f"{path}#0" if name == "a.xyz" else str(path))
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before


@pytest.mark.parametrize("row", ["X 0 0 0", "H nan 0 0"])
def test_commands_and_md_refuse_the_same_nonsense(row, tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(extxyz(WIDE, row))

    with pytest.raises(DataError, match="atom 0"):
        read_structure(str(path))
    with pytest.raises(DataError, match="atom 0"):
        read_for_md(StructureConfig(file=path))


def test_plain_xyz_may_have_further_columns(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(extxyz("comment", "H 0 0 0 0.1", "H 0 0 1 0.2"))

    (structure,) = read_structures(path)

    assert len(structure.atoms) == 2


LIE = '{"a": {"__ndarray__": [[1000000000], "float64", [0.0]]}}'


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("CREATE VIEW v AS SELECT 1", "contains a view"),
        ("CREATE TRIGGER t AFTER INSERT ON systems BEGIN SELECT 1; END", "a trigger"),
        ("ALTER TABLE systems ADD COLUMN big AS (zeroblob(900000000))", "computed"),
        ("ALTER TABLE systems RENAME TO other", "no table 'systems'"),
        (f"UPDATE systems SET key_value_pairs = '{LIE}'", "has 1 entries"),
    ],
)
def test_databases_that_compute_or_lie_are_refused(statement, message, tmp_path):
    path = tmp_path / "a.db"
    with ase.db.connect(path) as database:
        database.write(molecule("H2O"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    before = path.read_bytes()

    with pytest.raises(DataError, match=message):
        read_structures(path)

    assert path.read_bytes() == before


def test_arrays_of_json_are_as_long_as_they_say(tmp_path):
    path = tmp_path / "a.json"
    with ase.db.connect(path) as database:
        database.write(molecule("H2O"))
    text = path.read_text()
    assert len(read_structures(path)[0].atoms) == 3
    path.write_text(text.replace("[[3, 3]", "[[300000000, 3]"))

    with pytest.raises(DataError, match="has 9 entries"):
        read_structures(path)


class Payload:
    """Makes a folder where it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def test_pickles_under_other_names_are_not_executed(tmp_path):
    canary = tmp_path / "canary"
    for protocol in (0, 2, 4):
        content = pickle.dumps(Payload(canary), protocol)
        for name in ("a.xyz", "a.traj", "a.pckl", "a.db", "a.json", "POSCAR", "a"):
            path = tmp_path / name
            path.write_bytes(content)

            with pytest.raises(DataError, match=name):
                read_structures(path)

    assert not canary.exists()


@pytest.mark.parametrize(
    "name", ["a.castep-cell", "a.nwchem-in", "a.gpw", "postgres.xyz", "a.dcd"]
)
def test_formats_with_unsafe_readers_are_refused(name, tmp_path, monkeypatch):
    def start(*args, **kwargs):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    path.write_text("%BLOCK LATTICE_CART\n1 0 0\n0 1 0\n0 0 1\n%ENDBLOCK")

    with pytest.raises(DataError, match="is not supported:"):
        list(iterate_frames(path))


@pytest.mark.parametrize(
    ("module", "suffix"), [(gzip, "gz"), (bz2, "bz2"), (lzma, "xz")]
)
def test_decompression_bombs_are_refused(module, suffix, tmp_path):
    path = tmp_path / f"a.xyz.{suffix}"
    path.write_bytes(module.compress(b"1" * (2**20)) * 80)

    with pytest.raises(DataError, match="when decompressed"):
        read_structures(path)


def test_broken_compression_is_refused(tmp_path):
    path = tmp_path / "a.xyz.gz"
    content = bytearray(gzip.compress(extxyz("", *["H 0 0 0"] * 99).encode()))
    content[20] ^= 0xFF
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"a\.xyz\.gz"):
        read_structures(path)


def test_names_with_an_at_sign_are_names(tmp_path):
    path = tmp_path / "a@1.traj"
    with Trajectory(str(path), "w") as frames:
        frames.write(bulk("Cu"))

    assert len(read_structures(path)) == 1
    assert isinstance(read_structure(str(path)), Atoms)
    assert isinstance(read_structure(f"{path}@0"), Atoms)
