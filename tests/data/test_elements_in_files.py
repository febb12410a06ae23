"""Formats in which elements could be guessed, or sites are shared."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write

from equipot.cli.structures import read_structure
from equipot.data.reading.errors import DataError
from equipot.data.reading.frames import read_frame
from equipot.data.reading.labeled import read_structures

CIF = """data_a
_cell_length_a 5.45
_cell_length_b 5.45
_cell_length_c 5.45
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P 1'
_symmetry_Int_Tables_number 1
{extra}
loop_
{columns}
{rows}
"""
BASIC = ("label", "type_symbol", "fract_x", "fract_y", "fract_z")


def cif(rows, columns=BASIC, extra=""):
    names = "\n".join(f"_atom_site_{name}" for name in columns)
    return CIF.format(columns=names, rows="\n".join(rows), extra=extra)


DUMP = """ITEM: TIMESTEP
0
{units}ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS{bounds}
0 9
0 9
0 9
ITEM: ATOMS id type {columns}
1 1 {first}
2 2 {second}
"""


def dump(columns="element x y z", rows=("Si 1 1 1", "O 1 1 2.2"), **changes):
    parts = {"units": "", "bounds": " pp pp pp", **changes}
    return DUMP.format(columns=columns, first=rows[0], second=rows[1], **parts)


LAMMPS = """made by hand{units}

2 atoms
2 atom types

0 9 xlo xhi
0 9 ylo yhi
0 9 zlo zhi

{types}

Atoms # atomic

1 1 1 1 1
2 2 1 1 2.2
"""
MASSES = "Masses\n\n1 28.0855 # Si\n2 15.999 # O\n"


def lammps(types=MASSES, units=""):
    return LAMMPS.format(types=types, units=units)


POSCAR = "{title}\n1\n5 0 0\n0 5 0\n0 0 5\n{names}{counts}\nDirect\n0 0 0\n.5 .5 .5\n"
PDB = (
    "ATOM      1 {name:<4}{alt:1}MOL     1       0.000   0.000{z:8.3f}{occ:6.2f}"
    "  0.00          {el:>2}\n"
)


def pdb(*atoms):
    lines = [
        PDB.format(**{"name": "C1", "alt": "", "z": 2.0 * n, "occ": 1, "el": "C", **a})
        for n, a in enumerate(atoms)
    ]
    return "".join(lines) + "END\n"


OCCUPIED = (*BASIC, "occupancy")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.cif", cif(["A Si 0 0 0 .6", "B Ge 0 0 0 .4"], OCCUPIED), "occupancy 0.6"),
        ("a.cif", cif(["A Si 0 0 0 0.5"], OCCUPIED), "disordered"),
        ("a.cif", cif(["A Si 0 0 0 0.95(2)"], OCCUPIED), "disordered"),
        ("a.cif", cif(["A Si 0 0 0 2"], (*BASIC, "disorder_group")), "group 2"),
        ("a.cif", cif(["A O 0 0 0 2"], (*BASIC, "attached_hydrogens")), "2 hydrogen"),
        ("a.cif", cif(["A X 0 0 0"]), "dummy atom"),
        ("a.cif", cif(["A Si 0 0 0", "B Ge 0 0 1"]), "has the same position"),
        ("a.cif", cif(["CA1 0 0 0"], ("label", *BASIC[2:])), "is ambiguous"),
        ("a.cif", cif(["Wat1 0 0 0"], ("label", *BASIC[2:])), "is ambiguous"),
        ("a.cif", cif(["A CU 0 0 0"]), "not CU"),
        (
            "a.cif",
            cif(["A C 0 0 0"], extra="_chemical_formula_sum 'C6 H6'"),
            "no atoms of H",
        ),
        ("a.lammpstrj", dump("x y z", ("1 1 1", "1 1 2")), "no column 'element'"),
        ("a.lammpstrj", dump("mass x y z", ("28 1 1 1", "16 1 1 2")), "no column"),
        ("a.lammpstrj", dump(bounds=""), "periodic directions"),
        ("a.lammpstrj", dump(units="ITEM: UNITS\nlj\n"), "units 'lj'"),
        ("a.lammpstrj", dump(rows=("C1 1 1 1", "O 1 1 2")), "C1"),
        ("a.lammps-data", lammps(""), "atom types are not elements"),
        ("a.lammps-data", lammps("Masses\n\n1 28.0855\n2 15.999\n"), "not elements"),
        ("a.lammps-data", lammps("Masses\n\n1 28.1 # Ge\n2 16 # O"), "called Ge"),
        ("a.lammps-data", lammps("Masses\n\n1 28.1 # SiO\n2 16 # O"), "not an element"),
        ("a.lammps-data", lammps(units=", units = electron"), "units 'electron'"),
        ("POSCAR", POSCAR.format(title="Si O", names="", counts="1 1"), "VASP 4"),
        ("POSCAR", POSCAR.format(title="a", names="Si O\n", counts="2"), "2 element"),
        (
            "POSCAR",
            POSCAR.format(title="a", names="A B\n", counts="1 1"),
            "not an element",
        ),
        ("a.pdb", pdb({"el": ""}), "no element in columns 77 and 78"),
        ("a.pdb", pdb({"el": "X"}), "dummy atom"),
        ("a.pdb", pdb({"el": "D"}), "the element D"),
        ("a.pdb", pdb({"occ": 0.5}), "occupancy 0.5"),
        ("a.pdb", pdb({"alt": "A"}, {"alt": "B"}, {}), "alternative locations"),
        ("a.gro", "a\n 1\n    1MOL    CA    1   0.0   0.0   0.0\n 1 1 1\n", "extxyz"),
    ],
)
def test_what_is_no_structure_is_refused_with_what_to_do(name, text, message, tmp_path):
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(DataError, match=message) as caught:
        read_structures(path)
    with pytest.raises(DataError, match=message):
        read_structure(str(path))

    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("name", "text", "symbols"),
    [
        ("a.cif", cif(["A Si 0 0 0 1", "B O .5 .5 .5 1.0"], OCCUPIED), "SiO"),
        ("a.cif", cif(["A Si 0 0 0 .", "B O .5 .5 .5 ?"], OCCUPIED), "SiO"),
        ("a.cif", cif(["A Cu1+ 0 0 0", "B O2- .5 .5 .5"]), "CuO"),
        ("a.cif", cif(["Si1 0 0 0", "O 0.5 0 0"], ("label", *BASIC[2:])), "SiO"),
        ("a.lammpstrj", dump(), "SiO"),
        ("a.lammpstrj", dump(units="ITEM: UNITS\nmetal\n", bounds=" pp pp ff"), "SiO"),
        ("a.lammps-data", lammps(), "SiO"),
        ("a.lammps-data", lammps("Atom Type Labels\n\n1 Si\n2 O\n"), "SiO"),
        ("a.lammps-data", lammps("Masses\n\n1 2.014 # D\n2 15.999 # O"), "HO"),
        ("POSCAR", POSCAR.format(title="a", names="Si_pv O\n", counts="1 1"), "SiO"),
        ("a.pdb", pdb({"el": "CL"}, {"el": "C"}), "ClC"),
        ("a.pdb", pdb({"occ": 0}, {"occ": 0}), "C2"),
    ],
)
def test_elements_that_a_file_names_are_read(name, text, symbols, tmp_path):
    path = tmp_path / name
    path.write_text(text)

    assert str(read_frame(path, 0).symbols) == symbols


def test_deuterium_of_a_crystal_has_the_mass_of_the_atom(tmp_path):
    path = tmp_path / "a.cif"
    path.write_text(cif(["D1 D 0 0 0", "O1 O .2 .2 .2"]))

    atoms = read_structure(str(path))

    assert atoms.numbers.tolist() == [1, 8]
    np.testing.assert_allclose(atoms.get_masses(), [2.0141, 15.999], atol=1e-4)


def test_forces_and_velocities_without_a_unit_are_left_out(tmp_path):
    path = tmp_path / "a.lammpstrj"
    columns = "element x y z fx fy fz vx vy vz"
    path.write_text(dump(columns, ("Si 1 1 1 1 2 3 4 5 6", "O 1 1 2 1 2 3 4 5 6")))

    atoms = read_frame(path, 0)

    assert atoms.calc is None
    assert not atoms.has("momenta")


@pytest.mark.parametrize("name", ["a.cif", "POSCAR", "a.pdb", "a.traj", "a.json"])
def test_what_ase_writes_is_read(name, tmp_path):
    crystal = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    write(tmp_path / name, crystal)

    atoms = read_structure(str(tmp_path / name))

    assert sorted(atoms.symbols) == sorted(crystal.symbols)
    assert abs(atoms.cell.volume - crystal.cell.volume) < 1e-3


def test_a_drawing_is_no_structure(tmp_path):
    write(tmp_path / "a.sdf", molecule("H2O"))
    text = (tmp_path / "a.sdf").read_text().splitlines()
    assert len(read_structures(tmp_path / "a.sdf")) == 1
    text[1] = f"{'':20}2D"
    (tmp_path / "a.sdf").write_text("\n".join(text) + "\n")

    with pytest.raises(DataError, match="two-dimensional"):
        read_structures(tmp_path / "a.sdf")


def with_group(rows, group):
    return cif(rows).replace("'P 1'\n_symmetry_Int_Tables_number 1", group)


ISO = """x
  by hand

  2  0  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 O   0  0
    0.0000    0.0000    0.9600 H   1  0
M  ISO  1   2   2
M  END
"""
PWI = """&system
 ibrav=0, nat=1, ntyp=1
/
ATOMIC_SPECIES
H {mass} a
CELL_PARAMETERS angstrom
5 0 0
0 5 0
0 0 5
ATOMIC_POSITIONS angstrom
H 0 0 0
"""
CRYST = "CRYST1{0:9.3f}{0:9.3f}{0:9.3f}  90.00  90.00  90.00 {1}\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.cif", cif(["A Si 0 0 0", "B Si .02 0 0"]), "0.109 Å apart"),
        ("a.cif", cif(["A Si 0 0 0", "B Ge .02 0 0"]), "has the same position"),
        ("a.cif", cif(["A si 0 0 0"]), "not si"),
        (
            "a.cif",
            with_group(["A Si .333 .667 0"], "'P 63/m m c'"),
            "too few",
        ),
        ("a.cif", with_group(["A Si 0 0 0"], "'F d -3 m'"), "two settings"),
        ("a.cif", with_group(["A Si 0 0 0"], "'R -3 m'"), "two settings"),
        ("a.lammpstrj", dump(rows=("si 1 1 1", "O 1 1 2")), "write Si"),
        ("a.lammpstrj", dump(rows=("D 1 1 1", "O 1 1 2")), "the element D"),
        (
            "a.lammpstrj",
            dump("element mass x y z", ("H 2.014 1 1 1", "O 16 1 1 2")),
            "H has the mass 2.014",
        ),
        ("POSCAR", POSCAR.format(title="a", names="O D\n", counts="1 1"), "isotopes"),
        ("a.pdb", CRYST.format(20, "P 21 21 21") + pdb({}), "P 21 21 21"),
        ("coord", "$coord\n0 0 0 si\n$periodic 3\n$end\n", "not "),
        ("coord", "$coord\n0 0 0 si\n$lattice\n9 0 0\n$end\n", "not "),
        ("coord", "$coord angs\n0 0 0 si\n$end\n", "in Bohr only"),
        ("coord", "$coord frac\n0 0 0 si\n$end\n", "in Bohr only"),
        ("a.mol", ISO, "isotopes"),
        ("a.pwi", PWI.format(mass=2.014), "H has the mass 2.014"),
    ],
)
def test_what_a_reader_would_drop_or_guess_is_refused(name, text, message, tmp_path):
    path = tmp_path / name
    path.write_text(text)

    with pytest.raises(DataError, match=message):
        read_frame(path, 0)


@pytest.mark.parametrize(
    ("name", "text", "symbols", "lengths"),
    [
        ("a.cif", cif(["A Si 0 0 0 .9999"], OCCUPIED), "Si", [5.45] * 3),
        ("data.si", lammps(), "SiO", [9] * 3),
        ("a.data", lammps(), "SiO", [9] * 3),
        ("a.lmp", lammps(), "SiO", [9] * 3),
        ("a.pdb", CRYST.format(1, "P 1") + pdb({}), "C", [0] * 3),
        ("a.pdb", CRYST.format(0, "P 1") + pdb({}), "C", [0] * 3),
        ("a.pdb", CRYST.format(20, "P 1") + pdb({}), "C", [20] * 3),
        ("a.pwi", PWI.format(mass=1.0), "H", [5] * 3),
        ("coord", "$coord\n0 0 0 si\n$end\n", "Si", [0] * 3),
        (
            "POSCAR",
            "x\n-125.0\n1 0 0\n0 1 0\n0 0 1\nO H\n1 1\nDirect\n0 0 0\n.5 .5 .5\n",
            "OH",
            [5] * 3,
        ),
    ],
)
def test_files_as_programs_write_them_are_read(name, text, symbols, lengths, tmp_path):
    path = tmp_path / name
    path.write_text(text)

    atoms = read_frame(path, 0)

    assert str(atoms.symbols) == symbols
    np.testing.assert_allclose(atoms.cell.lengths(), lengths, atol=1e-6)
    assert atoms.pbc.all() == (lengths[0] > 0)


@pytest.mark.parametrize(("name", "kind"), [("a.con", "eon"), ("a.sys", "sys")])
def test_cells_of_programs_that_know_nothing_else_repeat(name, kind, tmp_path):
    write(tmp_path / name, bulk("Cu", cubic=True), format=kind)

    atoms = read_frame(tmp_path / name, 0)

    assert atoms.pbc.all()
    np.testing.assert_allclose(atoms.cell.lengths(), 3.61, atol=1e-3)


def test_several_molecules_of_an_sdf_file_are_refused(tmp_path):
    """ASE's reader would take the first without a word."""
    path = tmp_path / "a.sdf"
    write(path, molecule("H2O"))
    single = path.read_text(encoding="utf-8").rstrip("\n")
    single += "" if single.endswith("$$$$") else "\n$$$$"
    path.write_text(single + "\n\n", encoding="utf-8")
    assert len(read_structures(path)) == 1

    path.write_text(f"{single}\n{single}\n", encoding="utf-8")

    with pytest.raises(DataError, match="contains several molecules"):
        read_structures(path)
