"""Structure files made to break parsers: declared sizes, pickles, bombs, odd names."""

import bz2
import gzip
import json
import lzma
import pickle
import struct

HUGE = "1000000000000"
ATOM = "H 0 0 0\n"


class _Payload:
    """Unpickled, it would make a folder."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os  # noqa: PLC0415

        return os.mkdir, ("equipot-fuzzer-was-here",)


def _ulm(data: dict[str, object], items: int = 1, offset: int | None = None) -> bytes:
    """File of ASE's Ulm format with one item of any content."""
    text = json.dumps(data).encode()
    start = 56 if offset is None else offset
    head = b"- of Ulm" + b"ASE-Trajectory  " + struct.pack("<qqq", 3, items, 48)
    return head + struct.pack("<q", start) + struct.pack("<q", len(text)) + text


def _frame(**changes: object) -> dict[str, object]:
    positions = {"ndarray": [[1, 3], "float64", 0]}
    return {
        "version": 1, "ase_version": "3.29.0", "pbc": [False] * 3,
        "numbers.": {"ndarray": [[1], "int64", 32]}, "positions.": positions,
        "cell": [[0.0] * 3] * 3, **changes,
    }  # fmt: skip


def _array(
    shape: list[int], dtype: str = "float64", offset: int = 0
) -> dict[str, object]:
    return {"ndarray": [shape, dtype, offset]}


def _row(**changes: object) -> bytes:
    row = {
        "cell": {"array": {"__ndarray__": [[3, 3], "float64", [0.0] * 9]}},
        "positions": {"__ndarray__": [[1, 3], "float64", [0.0] * 3]},
        "numbers": {"__ndarray__": [[1], "int64", [1]]},
        "pbc": {"__ndarray__": [[3], "bool", [False] * 3]},
        "ctime": 1.0, "mtime": 1.0, "unique_id": "a", "user": "a", **changes,
    }  # fmt: skip
    return json.dumps({"1": row, "ids": [1], "nextid": 2}).encode()


def _extxyz(comment: str, count: str = "1", atoms: str = ATOM) -> bytes:
    return f"{count}\n{comment}\n{atoms}".encode()


LAMMPS = f"x\n\n{HUGE} atoms\n1 atom types\n0 1 xlo xhi\n0 1 ylo yhi\n0 1 zlo zhi\n\nAtoms # atomic\n\n1 1 0 0 0\n"
CFG = f"Number of particles = {HUGE}\nA = 1 Angstrom\nH0(1,1) = 1 A\n.NO_VELOCITY.\nentry_count = 3\n1.0\nH\n0 0 0\n"
CUBE = "a\nb\n{n} 0 0 0\n{g} 0.1 0 0\n{g} 0 0.1 0\n{g} 0 0 0.1\n1 0 0 0 0\n0 0 0\n"
POSCAR = "H\n1.0\n1 0 0\n0 1 0\n0 0 1\nH\n{n}\nDirect\n0 0 0\n"
DUMP = "ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{n}\nITEM: BOX BOUNDS pp pp pp\n0 1\n0 1\n0 1\nITEM: ATOMS id type x y z\n1 1 0 0 0\n"
CIF = """data_x
_cell_length_a {a}
_cell_length_b 1
_cell_length_c 1
_cell_angle_alpha {alpha}
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_IT_number {group}
loop_
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
H 0.1 0.2 0.3
"""
XML = """<?xml version="1.0"?>
<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">{entities}]>
<modeling>&{last};</modeling>
"""
ENTITIES = "".join(
    f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(12)
)

TRAPS: tuple[tuple[str, bytes], ...] = (
    ("a.xyz", _extxyz("x", HUGE)),
    ("a.xyz", _extxyz("x", "9" * 5000)),
    ("a.xyz", _extxyz("x", "10" * 12)),
    ("a.xyz", _extxyz("x", "-1")),
    ("a.xyz", _extxyz("x", "0")),
    ("a.xyz", _extxyz("Properties=species:S:1:pos:R:1000000000")),
    ("a.xyz", _extxyz("Properties=species:S:1:pos:R:3:x:R:100000000")),
    ("a.xyz", _extxyz("Properties=species:S:1:pos:R:3:x:S:900000000")),
    ("a.xyz", _extxyz("Properties=species:S:1:pos:R:-3")),
    ("a.xyz", _extxyz("Properties=species:S:1")),
    ("a.xyz", _extxyz("Properties=pos:R:3", atoms="0 0 0\n")),
    ("a.xyz", _extxyz("Properties=species:S:1:pos:R:3:Z:I:1", atoms="H 0 0 0 0\n")),
    (
        "a.xyz",
        _extxyz("Properties=species:S:1:pos:R:3:pos:R:3", atoms="H 0 0 0 1 1 1\n"),
    ),
    (
        "a.xyz",
        _extxyz(
            "Properties=species:S:1:pos:R:3:momenta:R:3", atoms="H 0 0 0 nan 0 0\n"
        ),
    ),
    (
        "a.xyz",
        _extxyz("Properties=species:S:1:pos:R:3:masses:R:1", atoms="H 0 0 0 -1\n"),
    ),
    (
        "a.xyz",
        _extxyz("Properties=species:S:1:pos:R:3:masses:R:1", atoms="H 0 0 0 nan\n"),
    ),
    (
        "a.xyz",
        _extxyz("Properties=species:S:1:pos:R:3:numbers:I:1", atoms="H 0 0 0 0\n"),
    ),
    ("a.xyz", _extxyz('Lattice="1e-9 0 0 0 1e-9 0 0 0 1e-9" pbc="T T T"')),
    ("a.xyz", _extxyz('Lattice="1e9 0 0 0 1e-2 0 0 0 1e9" pbc="T T T"')),
    ("a.xyz", _extxyz('Lattice="1e200 0 0 0 1e200 0 0 0 1e200" pbc="T T T"')),
    ("a.xyz", _extxyz('Lattice="nan 0 0 0 1 0 0 0 1"')),
    ("a.xyz", _extxyz('Lattice="1 0 0 0 1 0" pbc="T T T"')),
    ("a.xyz", _extxyz('pbc="T T T T"')),
    ("a.xyz", _extxyz("REF_energy=nan")),
    ("a.xyz", _extxyz("REF_energy=1e400")),
    ("a.xyz", _extxyz("config_type=IsolatedAtom")),
    ("a.xyz", _extxyz('config_type="a\x00b\x1b[31m"')),
    ("a.xyz", _extxyz("x=" + "[" * 100000)),
    ("a.xyz", _extxyz("_JSON " + "[" * 100000)),
    ("a.xyz", _extxyz("x=_JSON" + "[" * 5000 + "]" * 5000)),
    ("a.xyz", _extxyz('x="' + "{" * 30000)),
    ("a.xyz", _extxyz(" ".join(f"k{n}=1" for n in range(20000)))),
    ("a.xyz", _extxyz("REF_hessian=" + json.dumps([0.0] * 9))),
    ("a.xyz", _extxyz("x", atoms="H 1e300 0 0\n")),
    ("a.xyz", _extxyz("x", "2", "H 1e15 0 0\nH -1e15 0 0\n")),
    ("a.xyz", _extxyz("x", "2", "H 0 0 0\nH 0 0 0\n")),
    ("a.xyz", b"\x00" * 100),
    ("a.xyz", pickle.dumps(_Payload())),
    ("a.xyz", pickle.dumps(_Payload(), protocol=0)),
    ("a.traj", pickle.dumps(_Payload())),
    ("a.traj", b"PickleTrajectory" + pickle.dumps(_Payload())),
    ("a.traj", b"PickleTrajectory Ulm" + pickle.dumps(_Payload())),
    ("a.pckl", pickle.dumps(_Payload(), protocol=0)),
    ("a.bundletrajectory", b"x"),
    ("a.gpw", b"- of UlmGPAW            " + b"\x00" * 100),
    ("a.postgresql", b"x"),
    ("postgresql://localhost/a".replace("/", "_"), b"x"),
    (
        "a.castep-cell",
        b"%BLOCK LATTICE_CART\n1 0 0\n0 1 0\n0 0 1\n%ENDBLOCK LATTICE_CART\n%BLOCK POSITIONS_FRAC\nH 0 0 0\n%ENDBLOCK POSITIONS_FRAC\n",
    ),
    ("a.nc", b"CDF\x01" + b"\xff" * 100),
    ("a.lammps-dump-binary", struct.pack("<qq", 0, 2**60) + b"\x00" * 100),
    ("a.dcd", struct.pack("<i", 84) + b"CORD" + b"\x7f" * 200),
    ("a.traj", _ulm(_frame())),
    ("a.traj", _ulm(_frame(), items=2**60)),
    ("a.traj", _ulm(_frame(), items=-1)),
    ("a.traj", _ulm(_frame(), items=10**7)),
    ("a.traj", _ulm(_frame(), offset=2**62)),
    ("a.traj", _ulm(_frame(), offset=48)),
    ("a.traj", _ulm({"positions.": _array([10**9, 3])})),
    ("a.traj", _ulm(_frame(**{"positions.": _array([10**9, 3])}))),
    ("a.traj", _ulm(_frame(**{"positions.": _array([2**62, 2**62])}))),
    ("a.traj", _ulm(_frame(**{"positions.": _array([-1, 3])}))),
    ("a.traj", _ulm(_frame(**{"positions.": _array([1, 3], "O")}))),
    ("a.traj", _ulm(_frame(**{"positions.": _array([1, 3], "S1000000000")}))),
    ("a.traj", _ulm(_frame(**{"info": {"__ndarray__": [[10**9], "float64", [0.0]]}}))),
    ("a.traj", _ulm(_frame(cell={"__ndarray__": [[2 * 10**8], "float64", [0.0]]}))),
    (
        "a.traj",
        _ulm(_frame(constraints='[{"name": "FixAtoms", "kwargs": {"indices": [99]}}]')),
    ),
    ("a.traj", _ulm(_frame(constraints='[{"name": "Filter", "kwargs": {}}]'))),
    ("a.traj", _ulm(_frame(constraints="[" * 5000))),
    ("a.traj", _ulm(_frame(**{"x": [[1]] * 10}), items=1)),
    ("a.json", _row()),
    ("a.json", _row(positions={"__ndarray__": [[10**9, 3], "float64", [0.0]]})),
    ("a.json", _row(positions={"__ndarray__": [[10**9], "S1000", [""]]})),
    ("a.json", _row(data={"a": {"__ndarray__": [[2 * 10**8], "float64", 0]}})),
    ("a.json", _row(data={"a": {"__ase_objtype__": "atoms", "b": 1}})),
    (
        "a.json",
        _row(data={"a": {"__ase_objtype__": "bandpath", "labelseq": "G" * 999}}),
    ),
    ("a.json", _row(data={"a": {"__complex__": ["1", "2"]}})),
    ("a.json", _row(constraints=[{"name": "FixAtoms", "kwargs": {"indices": [7]}}])),
    ("a.json", _row(constraints=[{"name": "__import__", "kwargs": {}}])),
    ("a.json", _row(energy="nan", calculator="os")),
    ("a.json", b"[" * 100000),
    ("a.json", b'{"1": ' * 20000),
    ("a.json", b'{"ids": [1, 2], "nextid": 3}'),
    ("a.json", b'{"1": {"__ndarray__": [[1000000000], "int8", [1]]}}'),
    ("a.db", b"SQLite format 3\x00" + b"\x00" * 100),
    ("a.db", b"not a database" * 100),
    ("a.db", b"x"),
    ("a.lammps-data", LAMMPS.encode()),
    ("a.lammps-data", LAMMPS.replace(HUGE, "100000000").encode()),
    ("a.lammps-data", LAMMPS.replace(HUGE, "-1").encode()),
    ("a.lammps-data", LAMMPS.replace("0 1 xlo", "0 nan xlo").encode()),
    ("a.cfg", CFG.encode()),
    ("a.cfg", CFG.replace(HUGE, "50000000").encode()),
    ("a.cube", CUBE.format(n=HUGE, g=1).encode()),
    ("a.cube", CUBE.format(n="50000000", g=1).encode()),
    ("a.cube", CUBE.format(n=1, g=100000).encode()),
    ("a.cube", CUBE.format(n=-1, g=-1).encode()),
    ("POSCAR", POSCAR.format(n=HUGE).encode()),
    ("POSCAR", POSCAR.format(n="100000000").encode()),
    ("POSCAR", POSCAR.format(n="-1").encode()),
    ("POSCAR", POSCAR.format(n="0").encode()),
    ("POSCAR", POSCAR.format(n="1 " * 3000).encode()),
    (
        "XDATCAR",
        POSCAR.format(n="100000000")
        .replace("Direct", "Direct configuration= 1")
        .encode(),
    ),
    ("a.lammps-dump-text", DUMP.format(n=HUGE).encode()),
    ("a.lammps-dump-text", DUMP.format(n="100000000").encode()),
    ("a.lammps-dump-text", DUMP.format(n="-1").encode()),
    ("a.cif", CIF.format(a="1e300", alpha=90, group=1).encode()),
    ("a.cif", CIF.format(a=1, alpha=0, group=225).encode()),
    ("a.cif", CIF.format(a=1, alpha=90, group=230).encode()),
    ("a.cif", CIF.format(a=1, alpha=90, group=999).encode()),
    ("a.cif", CIF.format(a="1(2", alpha=90, group="1" * 5000).encode()),
    ("a.cif", b"data_x\nloop_\n" * 2000),
    ("a.cif", b"data_x\n;" + b"a\n" * 20000),
    ("vasprun.xml", XML.format(entities=ENTITIES, last="m").encode()),
    (
        "vasprun.xml",
        XML.format(
            entities='<!ENTITY m SYSTEM "file:///etc/passwd">', last="m"
        ).encode(),
    ),
    ("vasprun.xml", b"<a>" * 50000),
    ("a.xsd", XML.format(entities=ENTITIES, last="m").encode()),
    ("a.cml", b"<a>"),
    ("a.gen", f"{HUGE} C\nH\n1 1 0 0 0\n".encode()),
    ("a.gen", b"100000000 C\nH\n1 1 0 0 0\n"),
    ("a.gen", b"1 C\nH\n1 9 0 0 0\n"),
    (
        "a.pdb",
        b"CRYST1  1e30000   1.000   1.000  90.00  90.00  90.00 P 1\nATOM      1  H   MOL     1       0.000   0.000   0.000  1.00  0.00           H\n",
    ),
    ("a.xsf", f"ATOMS\n1 0 0 0\nANIMSTEPS {HUGE}\n".encode()),
    ("a.xsf", b"ANIMSTEPS 100000000\nATOMS 1\n1 0 0 0\n"),
    (
        "a.xsf",
        f"CRYSTAL\nPRIMVEC\n1 0 0\n0 1 0\n0 0 1\nPRIMCOORD\n{HUGE} 1\n1 0 0 0\n".encode(),
    ),
    (
        "a.gro",
        f"x\n{HUGE}\n    1H       H    1   0.000   0.000   0.000\n 1 1 1\n".encode(),
    ),
    (
        "a.eon",
        b"x\ny\n1 1 1\n90 90 90\nx\ny\n100000000\n1\n1\nH\nCoordinates of Component 1\n0 0 0 0 1\n",
    ),
    ("a.mol", MOL := b"x\n\n\n999  0\n    0.0000    0.0000    0.1190 O\n"),
    ("a.sdf", MOL),
    ("a.xyz.gz", gzip.compress(b"1" * 3_000_000, 9, mtime=0) * 100),
    ("a.xyz.gz", gzip.compress(b"1\nx\nH 0 0 0\n" * 100, mtime=0)[:-10]),
    ("a.cif.bz2", bz2.compress(b"\n" * 3_000_000) * 100),
    ("a.xyz.xz", lzma.compress(b" " * 3_000_000) * 100),
    ("a.xyz.gz", b"\x1f\x8b\x08"),
    ("a.xyz.xz", b"\xfd7zXZ\x00\x00"),
    ("a@b.xyz", _extxyz("x")),
    ("a@0.xyz", _extxyz("x")),
    ("-", _extxyz("x")),
    ("a", _extxyz("x")),
    ("a.unknown", b"hello"),
    ("a.py", b"import os; os.mkdir('equipot-fuzzer-was-here')"),
)
"""File name and contents."""
