"""Structure files that lie about their size, run code, or make no sense."""

import bz2
import gzip
import json
import lzma
import pickle
import sqlite3
import struct
import subprocess
from contextlib import closing
from itertools import pairwise

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


class Payload:
    """Makes a folder where it is unpickled."""

    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        import os

        return os.mkdir, (self.canary,)


def extxyz(comment="", rows=("H 0 0 0",), count=None):
    lines = [str(len(rows) if count is None else count), comment, *rows]
    return "\n".join(lines) + "\n"


WIDE = "Properties=species:S:1:pos:R:3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (extxyz(count=10**12), "declares 1000000000000 atoms, got 1"),
        (extxyz(count=10**30), "declares 1000000000000000000000000000000 atoms"),
        (extxyz(count=-1), "declares -1 atoms"),
        (extxyz(f"{WIDE}:x:R:900000000"), "declare 900000004 columns, atom 0 has 4"),
        (extxyz(f"{WIDE}:x:R:-1"), "NAME:TYPE:COLUMNS"),
        (extxyz(f"{WIDE}:pos:R:3", ["H 0 0 0 1 1 1"]), "names a column twice"),
        (extxyz(WIDE, ["H 0 0 0", "H 0 0 1 5"]), "atom 1 has 5"),
        (extxyz(f"{WIDE}:Z:I:1", ["H 0 0 0 119"]), "atomic number 119"),
        (extxyz(f"{WIDE}:Z:I:1", ["H 0 0 0 0"]), "atomic number 0"),
        (extxyz(WIDE, ["X 0 0 0"]), "atom 0 is 'X', a dummy atom"),
        (extxyz(WIDE, ["H nan 0 0"]), "position of atom 0 is not finite"),
        (extxyz(WIDE, ["H 1e30 0 0"]), "position of atom 0 is not finite, or more"),
        (extxyz(f"{WIDE}:momenta:R:3", ["H 0 0 0 nan 0 0"]), "momenta are not finite"),
        (extxyz(f"{WIDE}:masses:R:1", ["H 0 0 0 0"]), "mass of atom 0 is 0"),
        (extxyz(f"{WIDE}:masses:R:1", ["H 0 0 0 inf"]), "masses are not finite"),
        (extxyz('Lattice="nan 0 0 0 1 0 0 0 1"'), "cell is not finite"),
        (extxyz('Lattice="1e20 0 0 0 1e20 0 0 0 1e20"'), "cell is larger than"),
        (extxyz('Lattice="1e-9 0 0 0 1e-9 0 0 0 1e-9"'), "is the cell in Å"),
        (extxyz('config_type="a\x1b[31m"'), "printable characters"),
    ],
)
def test_nonsense_in_extxyz_is_refused(text, message, tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(text)

    with pytest.raises(DataError, match=message) as caught:
        read_structures(path)

    assert str(caught.value).startswith(f"{path}#0")


CELL = "H\n1\n1 0 0\n0 1 0\n0 0 1\nH\n{}\nDirect\n0 0 0\n"
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


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.xyz", "9" * 5000 + "\n\nH 0 0 0\n", "expected a number of atoms"),
        ("a.xyz", extxyz(count=0), "declares 0 atoms"),
        ("a.xyz", extxyz("Properties=species:S:1"), "has no positions"),
        ("a.xyz", extxyz("Properties=pos:R:3", ["0 0 0"]), "has no elements"),
        ("a.xyz", extxyz('Lattice="1 0 0 0 1 0"'), "nine numbers"),
        ("a.xyz", extxyz('pbc="T T T T"'), "three of T and F"),
        ("a.xyz", extxyz("REF_energy=1e400"), "infinite"),
        ("a.xyz", extxyz("config_type=IsolatedAtom"), "needs an energy"),
        ("a.xyz", extxyz("x=" + "[" * 100_000), "bracket after x= is not closed"),
        ("a.xyz", extxyz('x="' + "{" * 30_000), "quote after x= is not closed"),
        ("a.xyz", extxyz(" ".join(f"k{n}=1" for n in range(20_000))), "10000 keys"),
        ("a.xyz", "\0" * 100, "expected a number of atoms"),
        ("a.json", "[" * 100_000, "recursion depth"),
        ("a.json", '{"1": ' * 20_000, "recursion depth"),
        ("a.json", '{"ids": [1, 2], "nextid": 3}', "KeyError"),
        ("a.json", '{"1": {"__ndarray__": [[9999999], "int8", [1]]}}', "1 entries"),
        ("a.db", "SQLite format 3\0" + "\0" * 100, "not an SQLite database"),
        ("a.lammps-data", LAMMPS, "atom types are not elements"),
        ("POSCAR", CELL.format(-1), "negative"),
        ("POSCAR", CELL.format(0), "has no atoms"),
        ("POSCAR", CELL.format("1 " * 3000), "3000 numbers of atoms"),
        ("a.cif", CIF.format("1e300", 90, 1), "not finite"),
        ("a.cif", CIF.format(1, 0, 225), "cannot be read as cif"),
        ("a.cif", CIF.format(1, 90, 999), "spacegroup"),
        ("a.cif", CIF.format("1(2", 90, "1" * 5000), "limit"),
        ("a.cif", "data_x\nloop_\n" * 2000, "contains no structure"),
        ("a.cif", "data_x\n;" + "a\n" * 20_000, "cannot be read as cif"),
        ("vasprun.xml", XML.format("ha" * 50, "".join(LAUGHS), "l"), "ParseError"),
        ("vasprun.xml", XML.format("", '<!ENTITY f SYSTEM "/x">', "f"), "undefined"),
        ("vasprun.xml", "<a>" * 50_000, "no element found"),
        ("a.gen", "1 C\nH\n1 9 0 0 0\n", "KeyError"),
        ("a.xsf", f"ATOMS\n1 0 0 0\nANIMSTEPS {10**12}\n", "cannot be read as xsf"),
        ("a.xsf", "ANIMSTEPS 100000000\nATOMS 1\n1 0 0 0\n", "cannot be read as xsf"),
        ("a.unknown", "hello", "has no reader for format"),
        ("a.py", "import os; os.mkdir('canary')", "has no reader for format"),
    ],
)  # fmt: skip
def test_files_made_to_break_parsers_are_refused(name, text, message, tmp_path):
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(DataError, match=message) as caught:
        read_structures(path)

    assert str(caught.value).startswith(str(path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("rows", [["X 0 0 0"], ["H nan 0 0"]])
def test_commands_and_md_refuse_the_same_nonsense(rows, tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(extxyz(WIDE, rows))

    with pytest.raises(DataError, match="atom 0"):
        read_structure(str(path))
    with pytest.raises(DataError, match="atom 0"):
        read_for_md(StructureConfig(file=path))


def test_plain_xyz_may_have_further_columns(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(extxyz("comment", ["H 0 0 0 0.1", "H 0 0 1 0.2"]))

    (structure,) = read_structures(path)

    assert len(structure.atoms) == 2


POSCAR = "{name}\n1\n3 0 0\n0 3 0\n0 0 3\n{line}{count}\nDirect\n0 0 0\n"
HUGE = 10**12


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.cube", f"a\nb\n{HUGE} 0 0 0\n1 1 0 0\n1 0 1 0\n1 0 0 1\n1 0 0 0 0\n0\n"),
        ("a.cube", "a\nb\n1 0 0 0\n9999 1 0 0\n9999 0 1 0\n9999 0 0 1\n1 0 0 0 0\n0\n"),
        ("a.cfg", f"Number of particles = {HUGE}\nA = 1\nH0(1,1) = 1\n"),
        ("a.lammps-data", f"a\n\n{HUGE} atoms\n\nAtoms\n\n1 1 0 0 0\n"),
        ("a.lammps-dump-text", f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{HUGE}\n"),
        ("POSCAR", POSCAR.format(name="H", line="H\n", count=HUGE)),
        ("POSCAR", POSCAR.format(name="H999999999", line="", count=1)),
        ("XDATCAR", POSCAR.format(name="H", line="H9999999\n", count=1)),
        ("POSCAR", POSCAR.format(name="H", line="H\n", count=f"1 {HUGE} 0.5")),
        ("a.jsv", f"[natom] 1\n[nbond] {HUGE}\n[npoly] 0\n[atoms]\nH1 1 0 0 0\n"),
        ("a.jsv", f"[natom] 1\n[nbond] 0\n[npoly] {HUGE}\n[atoms]\nH1 1 0 0 0\n"),
        ("OUTCAR", f"ions per type = {HUGE}\n Iteration \n"),
    ],
)
def test_more_atoms_than_bytes_are_refused(name, text, tmp_path):
    (tmp_path / name).write_text(text)

    with pytest.raises(DataError, match=r"atoms in .* bytes"):
        read_structures(tmp_path / name)


def trajectory(**changes):
    """File of ASE's Ulm format with one frame."""
    array = {"ndarray": [[1, 3], "float64", 0]}
    frame = {"version": 1, "ase_version": "3.29.0", "pbc": [False] * 3}
    frame |= {"positions.": array, "cell": [[0.0] * 3] * 3, **changes}
    text = json.dumps(frame).encode()
    head = b"- of UlmASE-Trajectory  " + struct.pack("<qqqq", 3, 1, 48, 56)
    return head + struct.pack("<q", len(text)) + text


def array(shape, dtype="float64", offset=0):
    return {"positions.": {"ndarray": [shape, dtype, offset]}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (trajectory(**array([10**9, 3])), "positions has 24000000000 bytes"),
        (trajectory(**array([-1, 3])), "has the shape"),
        (trajectory(**array([1, 3], "O")), "is an array of O"),
        (trajectory(**array([1, 3], "S99999999")), "is an array of S9"),
        (
            trajectory(**{"numbers.": {"ndarray": [[1], "float64", 0]}}),
            "atomic numbers",
        ),
        (trajectory(**array([1, 3], offset=10**9)), "at 1000000000 of"),
        (trajectory(info={"__ndarray__": [[10**9], "float64", [0]]}), "has 1 entries"),
        (trajectory()[:32] + struct.pack("<q", 2**60) + trajectory()[40:], "frames in"),
        (trajectory()[:48] + struct.pack("<q", 2**60) + trajectory()[56:], "begins at"),
        (trajectory()[:56] + struct.pack("<q", 2**60) + trajectory()[64:], "the text"),
        (trajectory(cell={"__ndarray__": [[10**9], "float64", [0]]}), "has 1 entries"),
        (b"PickleTrajectory Ulm" + b"\0" * 100, "old ones are pickles"),
    ],
)
def test_trajectories_that_declare_too_much_are_refused(content, message, tmp_path):
    path = tmp_path / "a.traj"
    path.write_bytes(content)

    with pytest.raises(DataError, match=message):
        read_structures(path)


def test_arrays_of_json_are_as_long_as_they_say(tmp_path):
    path = tmp_path / "a.json"
    with ase.db.connect(path) as database:
        database.write(molecule("H2O"))
    text = path.read_text()
    (structure,) = read_structures(path)
    assert len(structure.atoms) == 3
    changed = text.replace('"__ndarray__": [[3, 3]', '"__ndarray__": [[300000000, 3]')
    assert changed != text
    path.write_text(changed)

    with pytest.raises(DataError, match="has 9 entries"):
        read_structures(path)


VIEW = "CREATE VIEW v AS SELECT 1"
COMPUTED = "ALTER TABLE systems ADD COLUMN big AS (zeroblob(900000000))"
LIE = '{"a": {"__ndarray__": [[1000000000], "float64", [0.0]]}}'


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (VIEW, "contains a view"),
        ("CREATE TRIGGER t AFTER INSERT ON systems BEGIN SELECT 1; END", "a trigger"),
        (COMPUTED, "computed columns"),
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


def test_what_is_no_database_stays_as_it_is(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"x")

    with pytest.raises(DataError, match="not an SQLite database"):
        read_structures(path)

    assert path.read_bytes() == b"x"


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
    with open(name, "w") as file:
        file.write("%BLOCK LATTICE_CART\n1 0 0\n0 1 0\n0 0 1\n%ENDBLOCK LATTICE_CART\n")
    from pathlib import Path

    with pytest.raises(DataError, match="is not supported:"):
        list(iterate_frames(Path(name)))


@pytest.mark.parametrize("module", [gzip, bz2, lzma])
def test_decompression_bombs_are_refused(module, tmp_path):
    path = tmp_path / ("a.xyz" + {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}[module])
    path.write_bytes(module.compress(b"1" * (2**20)) * 80)

    with pytest.raises(DataError, match="when decompressed"):
        read_structures(path)


def test_broken_compression_is_refused(tmp_path):
    path = tmp_path / "a.xyz.gz"
    content = bytearray(gzip.compress(extxyz(rows=["H 0 0 0"] * 99).encode()))
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
