"""Spellings of extended XYZ: what is understood, and that nothing else is read."""

import time

import numpy as np
import pytest
from ase.data import atomic_masses

from equipot.cli.structures import read_structure
from equipot.config.data import KeysConfig
from equipot.config.md import StructureConfig
from equipot.data.reading.errors import DataError
from equipot.data.reading.frames import read_frame
from equipot.data.reading.labeled import read_structures
from equipot.md.start import read_start

CUBE = 'Lattice="8 0 0 0 8 0 0 0 8"'
COLUMNS = "Properties=species:S:1:pos:R:3"
ROWS = ("O 0 0 0", "H 0 0 1")


def frame(comment, rows=ROWS):
    return "\n".join([str(len(rows)), comment, *rows]) + "\n"


@pytest.fixture
def read(tmp_path):
    def read_text(comment, rows=ROWS):
        path = tmp_path / "a.xyz"
        path.write_text(frame(comment, rows))
        return read_frame(path, 0)

    return read_text


@pytest.mark.parametrize("key", ["pbc", "PBC", "Pbc", "pBC"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"F F F"', "FFF"),
        ('"f f f"', "FFF"),
        ('"0 0 0"', "FFF"),
        ('"1 1 0"', "TTF"),
        ('"T T F"', "TTF"),
        ('"t t f"', "TTF"),
        ("TTF", "TTF"),
        ('"TTF"', "TTF"),
        ("ttf", "TTF"),
        ('"110"', "TTF"),
        ("110", "TTF"),
        ('"true true false"', "TTF"),
        ('"True, True, False"', "TTF"),
        ("[True,True,False]", "TTF"),
        ("[T, T, F]", "TTF"),
        ("[true, TRUE, fAlse]", "TTF"),
        ("{T T F}", "TTF"),
        ("'T T F'", "TTF"),
        ('"(True, True, False)"', "TTF"),
        ('"[ True  True False]"', "TTF"),
        ('"_JSON [true, true, false]"', "TTF"),
        ('".true. .TRUE. .false."', "TTF"),
        ("F", "FFF"),
        ("f", "FFF"),
        ("0", "FFF"),
        ("T", "TTT"),
        ('"T,T,F"', "TTF"),
        ("[1, 1, 0]", "TTF"),
    ],
)
def test_every_spelling_of_periodicity_is_understood(read, key, value, expected):
    atoms = read(f"{CUBE} {key}={value} {COLUMNS}")

    assert "".join("FT"[int(p)] for p in atoms.pbc) == expected
    assert atoms.cell.array.tolist() == np.diag([8.0, 8, 8]).tolist()
    assert atoms.info == {}


@pytest.mark.parametrize(
    "value",
    [
        *("", '""', '"T T"', '"T T T T"', "yes", '"p p f"', "2", '"1 1 2"', "none"),
        *('"T T X"', "TTX", '"0.0 0.0 0.0"', "-1", "[[T,T,F],[T,T,F]]", '"T T T'),
    ],
)
def test_an_unknown_periodicity_is_refused(read, value):
    with pytest.raises(DataError, match=r"#0, line 1: .*(pbc|is missing)"):
        read(f"{CUBE} {COLUMNS} pbc={value}")


@pytest.mark.parametrize(
    "key", ["Lattice", "lattice", "LATTICE", "lAttice", '"Lattice"']
)
@pytest.mark.parametrize(
    "value",
    [
        '"8 0 0 1 8 0 0 0 8"',
        "'8 0 0 1 8 0 0 0 8'",
        "{8 0 0 1 8 0 0 0 8}",
        "[8, 0, 0, 1, 8, 0, 0, 0, 8]",
        '"8,0,0,1,8,0,0,0,8"',
        "[[8, 0, 0], [1, 8, 0], [0, 0, 8]]",
        '"[[8. 0. 0.] [1. 8. 0.] [0. 0. 8.]]"',
        '"_JSON [[8, 0, 0], [1, 8, 0], [0, 0, 8]]"',
        '"8.0D+00 0 0 1 8e0 0 0 0 0.8d1"',
    ],
)
def test_every_spelling_of_the_lattice_is_understood(read, key, value):
    atoms = read(f"energy=-5.5 {key} = {value} {COLUMNS}")

    assert atoms.cell.array.tolist() == [[8, 0, 0], [1, 8, 0], [0, 0, 8]]
    assert atoms.pbc.all()


@pytest.mark.parametrize(
    "comment",
    [
        f'Lattice="8 8 8" {COLUMNS}',
        f"Lattice=8 {COLUMNS}",
        f'Lattice="8 8 8 90 90 90" {COLUMNS}',
        f'Lattice="8 0 0 0 8 0 0 0" {COLUMNS}',
        f'Lattice="8 0 0 0 8 0 0 0 8 0 0 0" {COLUMNS}',
        f'Lattice="8 0 0 0 8 0 0 0 x" {COLUMNS}',
        f'Lattice="8_0 0 0 0 8 0 0 0 8" {COLUMNS}',
        f"Lattice=[[8, 0, 0], [0, 8, 0]] {COLUMNS}",
        f"Lattice {COLUMNS}",
        f'Lattice="" {COLUMNS}',
        f'Lattice="8 0 0 0 8 0 0 0 8 {COLUMNS}',
        f'Lattice="8 0 0 0 8 0 0 0 8"{COLUMNS}',
        f"Lattice=[[8, 0, 0], [0, 8, 0], [0, 0, 8] {COLUMNS}",
        f'cell="8 0 0 0 8 0 0 0 8" {COLUMNS}',
        f'Cell="8 8 8" {COLUMNS}',
        f"box=[8, 8, 8] {COLUMNS}",
        f'unit_cell="8 8 8 90 90 90" {COLUMNS}',
        f'Latice="8 0 0 0 8 0 0 0 8" {COLUMNS}',
        f'lattice_vectors="8 0 0 0 8 0 0 0 8" {COLUMNS}',
        f'{CUBE} cell="9 0 0 0 9 0 0 0 9" {COLUMNS}',
        f'{CUBE} lattice="9 0 0 0 9 0 0 0 9" {COLUMNS}',
        f'{CUBE} {COLUMNS} pbc="T T T" PBC="F F F"',
        f"{CUBE} {COLUMNS} periodic=F",
        f'{CUBE} {COLUMNS} boundary="p p f"',
        f"{CUBE} {COLUMNS} PBCs=F",
        f"{CUBE} {COLUMNS} nonperiodic=T",
        f"{CUBE} {COLUMNS} pbc_x=F pbc_y=F pbc_z=T",
        f"a=8 b=8 c=8 {COLUMNS}",
        f"Lx=8 Ly=8 Lz=8 {COLUMNS}",
        f'{CUBE} {COLUMNS} pbc="T T T" pbc="T T F"',
        f"{CUBE} {COLUMNS} energy=-1 energy=-2",
        f"{CUBE} {COLUMNS} properties=species:S:1:pos:R:3:x:R:1",
        f"{CUBE} columns=pos:R:3:species:S:1",
        f"{CUBE} Property=species:S:1:pos:R:3",
        f"{CUBE} {COLUMNS} units=bohr",
        f"{CUBE} {COLUMNS} length_unit=nm",
        f'{CUBE} {COLUMNS} units="atomic units"',
        f"{CUBE} {COLUMNS} energy=-76.3 Ha",
        f"{CUBE} {COLUMNS} energy=-76.3 kcal/mol",
        f'{CUBE} {COLUMNS} Origin="0 0"',
        f"{CUBE} {COLUMNS} config_type= energy=-5",
        f"{CUBE} {COLUMNS} = 5",
        f'Lattice: "8 0 0 0 8 0 0 0 8" {COLUMNS}',
        f"{CUBE} {COLUMNS} pbc: F F F",
        '{"Lattice": [[8, 0, 0], [0, 8, 0], [0, 0, 8]], "pbc": [true, true, true]}',
        "CELL(abcABC): 8 8 8 90 90 90 Step: 0 positions{angstrom} cell{angstrom}",
        "Lattice: 8 0 0 0 8 0 0 0 8",
        "Lattice vectors 8 0 0 0 8 0 0 0 8",
        "pbc: T T T",
        "pbc=none",
        "water, positions in Bohr",
        "energy=-76.4 hartree",
    ],
)
def test_what_may_change_the_structure_and_is_not_understood_is_refused(read, comment):
    with pytest.raises(DataError, match="#0, line 1: "):
        read(comment)


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "water",
        "it's water, 3 atoms (from a file)",
        "diamond lattice, relaxed in a cell",
        " i = 0, time = 0.000, E = -17.1644",
        "energy: -42.1 gnorm: 0.0003 xtb: 6.4.1",
        'generated by "a program" [2021]',
        "Coordinates from ORCA-job a E -76.38",
        "2x2x2 supercell of ice",
        "Lattice constant = 5.43",
    ],
)
def test_a_comment_that_is_no_header_stays_a_comment(read, comment):
    atoms = read(comment)

    assert not atoms.pbc.any()
    assert not atoms.cell.array.any()
    assert atoms.calc is None
    if "=" not in comment and comment:
        assert atoms.info == {"comment": comment}


@pytest.mark.parametrize(
    "comment",
    [
        f'{CUBE} Origin="0 0 0" {COLUMNS}',
        f'{CUBE} {COLUMNS} pbc="T T T" periodic=T',
        f'{CUBE} {COLUMNS} pbc="T T T" PBC="1 1 1"',
        f'{CUBE} {COLUMNS} cell="8 0 0 0 8 0 0 0 8"',
        f"{CUBE} {COLUMNS} lattice_type=cubic lattice_constant=8.0 box=a1",
        f"{CUBE} {COLUMNS} units=eV energy=-5.5",
        f"{CUBE} {COLUMNS} units=metal",
        f"{CUBE} {COLUMNS}:",
    ],
)
def test_harmless_keys_are_kept(read, comment):
    atoms = read(comment)

    assert atoms.pbc.all()
    assert atoms.cell.lengths().tolist() == [8, 8, 8]


def test_values_keep_their_types(read):
    atoms = read(
        f"{COLUMNS} i=3 x=-1.5e-3 big=12345678901234567890 flag=T off=False word=a-b "
        'text="two words" v=[1, 2] w="1 2.5" m=[[1,2],[3,4]] l="T F" '
        r'quoted="a \"b\"" nothing uid=007 j="_JSON {\"a\": [1, 2]}" eq=a=b'
    )

    info = atoms.info
    assert (info["i"], info["x"], info["big"]) == (3, -1.5e-3, 12345678901234567890.0)
    assert (info["flag"], info["off"], info["nothing"]) == (True, False, True)
    assert (info["word"], info["text"], info["quoted"]) == ("a-b", "two words", 'a "b"')
    assert info["v"].tolist() == [1, 2]
    assert info["w"].tolist() == [1, 2.5]
    assert info["m"].tolist() == [[1, 2], [3, 4]]
    assert info["l"] == [True, False]
    assert (info["uid"], info["j"], info["eq"]) == ("007", {"a": [1, 2]}, "a=b")


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        ("pos:R:3:species:S:1", ["0 0 0 O", "0 0 1 H"]),
        ("id:I:1:element:S:1:position:R:3", ["1 O 0 0 0", "2 H 0 0 1"]),
        ("Species:s:1:Pos:r:3", ROWS),
        ("SPECIES:S:1:POS:R:3", ROWS),
        ("Z:I:1:pos:R:3", ["8 0 0 0", "1 0 0 1"]),
        ("z:I:1:pos:R:3", ["8 0 0 0", "1 0 0 1"]),
        ("atomic_numbers:I:1:positions:R:3", ["8 0 0 0", "1 0 0 1"]),
        ("species:S:1:pos:R:3:Z:I:1", ["O 0 0 0 8", "H 0 0 1 1"]),
        ("species:S:1:pos:I:3", ROWS),
        ("species:S:1:pos:R:3", ["o 0 0 0", "h 0 0 1"]),
        ("species:S:1:pos:R:3", ["O 0 0 0.0d0", "H 0 0 1.0D+00"]),
    ],
)
@pytest.mark.parametrize("key", ["Properties", "properties", "PROPERTIES"])
def test_columns_are_found_by_name_in_any_order(read, columns, rows, key):
    atoms = read(f"{key}={columns}", rows)

    assert atoms.get_chemical_formula() == "HO"
    assert atoms.numbers.tolist() == [8, 1]
    assert atoms.positions.tolist() == [[0, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [
        ("species:S:1:frac:R:3", ROWS, "has no positions"),
        ("pos:R:3", ["0 0 0", "0 0 1"], "has no elements"),
        ("type:I:1:pos:R:3", ["1 0 0 0", "2 0 0 1"], "has no elements"),
        ("species:S:1:x:R:1:y:R:1:z:R:1", ROWS, "has no positions"),
        ("species:S:1:pos:R:2", ["O 0 0", "H 0 1"], "need type R or I and 3"),
        ("species:I:1:pos:R:3", ["8 0 0 0", "1 0 0 1"], "need type S and 1"),
        ("species:S:1:pos:R:3:masses:R:3", ["O 0 0 0 1 1 1"] * 2, "need type R or I"),
        (
            "species:S:1:pos:R:3:Z:I:1",
            ["O 0 0 0 8", "H 0 0 1 2"],
            "the atomic number 2",
        ),
        ("species:S:1:pos:R:3:position:R:3", ["O 0 0 0 0 0 1"] * 2, "both positions"),
        ("species:S:1:pos:Q:3", ROWS, "is not NAME:TYPE"),
        ("species:S:1:pos:R", ROWS, "is not NAME:TYPE"),
        ("species:S:1:pos:R:0", ROWS, "is not NAME:TYPE"),
        ("species:S:1:pos:R:3:x:R:1", ROWS, "declare 5 columns, atom 0 has 4"),
        ("species:S:1:pos:R:3", ["1 0 0 0", "2 0 0 1"], "'1', which is not an element"),
        ("species:S:1:pos:R:3", ["O 0 0 0", "H1 0 0 1"], "'H1', which is not"),
        ("species:S:1:pos:R:3", ["O2- 0 0 0", "H 0 0 1"], "'O2-', which is not"),
        ("species:S:1:pos:R:3", ["O 0 0 0", "H 0 0 1_0"], "column pos: not a number"),
        ("species:S:1:pos:R:3:move_mask:L:1", ["O 0 0 0 y"] * 2, "expected T or F"),
        ("species:S:1:pos:R:3:id:I:1", ["O 0 0 0 1.5"] * 2, "expected an integer"),
        ("species:S:1:pos:R:3:occupancy:R:1", ["O 0 0 0 .5"] * 2, "occupancy 0.5"),
        ("species:S:1:pos:R:3:mass:R:1", ["O 0 0 0 1658.2"] * 2, "QUIP"),
        ("species:S:1:pos:R:3:mass:R:1", ["D 0 0 0 1.008"] * 2, "isotope of 2.014"),
    ],
)
def test_columns_that_are_not_understood_are_refused(read, columns, rows, message):
    with pytest.raises(DataError, match=message):
        read(f"Properties={columns}", rows)


@pytest.mark.parametrize("name", ["masses", "mass", "Masses", "MASS"])
def test_masses_are_read_under_every_name(read, name):
    rows = ["O 0 0 0 17.999", "H 0 0 1 2.014"]

    atoms = read(f"{COLUMNS}:{name}:R:1", rows)

    assert atoms.get_masses().tolist() == [17.999, 2.014]


def test_isotopes_of_hydrogen_have_their_masses(read):
    atoms = read(COLUMNS, ["O 0 0 0", "D 0 0 1", "T 0 1 0", "d 1 0 0"])

    assert atoms.numbers.tolist() == [8, 1, 1, 1]
    np.testing.assert_allclose(
        atoms.get_masses(), [atomic_masses[8], 2.0141, 3.0160, 2.0141], atol=1e-4
    )


@pytest.mark.parametrize("words", [("T", "F"), ("t", "f"), ("true", "FALSE"), "10"])
def test_logical_columns_are_read_in_every_spelling(read, words):
    rows = [f"O 0 0 0 {words[0]}", f"H 0 0 1 {words[1]}"]

    atoms = read(f"{COLUMNS}:Move_Mask:L:1", rows)

    assert [c.get_indices().tolist() for c in atoms.constraints] == [[1]]


def test_velocities_whose_unit_no_dialect_shares_are_not_momenta(read):
    atoms = read(f"{COLUMNS}:vel:R:3", ["O 0 0 0 1 1 1", "H 0 0 1 1 1 1"])

    assert not atoms.has("momenta")
    assert atoms.arrays["vel"].shape == (2, 3)


@pytest.mark.parametrize("energy", ["energy", "Energy", "ENERGY"])
def test_labels_are_found_in_any_case(tmp_path, energy):
    path = tmp_path / "a.xyz"
    path.write_text(
        frame(
            f'{energy}=-5.5 lattice="8 0 0 0 8 0 0 0 8" Virial="1 0 0 0 2 0 0 0 3" '
            "properties=species:s:1:pos:r:3:force:r:3",
            ["O 0 0 0 .1 .2 .3", "H 0 0 1 -.1 -.2 -.3"],
        )
    )
    keys = KeysConfig(energy="energy", forces="Force", virials="virial")

    (structure,) = read_structures(path, keys)

    assert float(structure.labels.energy) == -5.5
    assert structure.labels.forces[0].tolist() == [0.1, 0.2, 0.3]
    np.testing.assert_allclose(
        structure.labels.stress[0], -np.diag([1.0, 2, 3]) / 512, atol=1e-15
    )


def test_two_spellings_of_a_label_must_agree(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(frame(f"{COLUMNS} REF_energy=-1 ref_energy=-2"))

    with pytest.raises(DataError, match="REF_energy and ref_energy have different"):
        read_structures(path)


@pytest.mark.parametrize(
    "text",
    [
        "2\n" + "x=1 " * 400_000 + "\nO 0 0 0\nH 0 0 1\n",
        "2\n" + "".join(f"k{n}={n} " for n in range(400_000)) + "\nO 0 0 0\nH 0 0 1\n",
        "1" * 20_000_000,
        "2\n" + "a" * 20_000_000,
        "2\n\nO 0 0 0 " + "1 " * 10_000_000 + "\nH 0 0 1\n",
        "2\nProperties=" + "x:R:1:" * 100_000 + "\nO 0 0 0\nH 0 0 1\n",
    ],
    ids=["keys", "different keys", "count", "comment", "row", "columns"],
)
def test_endless_lines_are_refused_at_once(tmp_path, text):
    path = tmp_path / "a.xyz"
    path.write_text(text)

    start = time.process_time()
    with pytest.raises(DataError, match=r"a\.xyz"):
        read_structures(path)

    assert time.process_time() - start < 30


@pytest.mark.parametrize(
    "comment",
    [
        f"{CUBE} {COLUMNS} is_pbc=F",
        f"{CUBE} {COLUMNS} use_pbc=F",
        f'{CUBE} {COLUMNS} pbc_xyz="T T F"',
        f'{CUBE} {COLUMNS} pbc_conditions="T T F"',
        f"{CUBE} {COLUMNS} periodic_boundary=F",
        f"{CUBE} {COLUMNS} periodic_dimensions=xy",
        f'{CUBE} {COLUMNS} periodic_directions="T T F"',
        f"{CUBE} {COLUMNS} periodicity_type=slab",
        f'{CUBE} {COLUMNS} pbc="T T T" aperiodic=T',
        f"{CUBE} {COLUMNS} unit_length=bohr",
        f"{CUBE} {COLUMNS} units_positions=a0",
        f"{CUBE} {COLUMNS} positions_unit=a0",
        f"{CUBE} {COLUMNS} unit_system=atomic",
        f"{CUBE} {COLUMNS} unit_style=electron",
        f"{CUBE} {COLUMNS} bohr=T",
        f"{CUBE} {COLUMNS} fractional=T",
        f"{CUBE} {COLUMNS} coordinates=direct",
        f"{CUBE} {COLUMNS} coordinate_type=fractional",
        "XYZ file, coordinates in a.u.",
        "units: atomic",
        "geometry (au)",
        "coordinates in nm",
    ],
)
def test_other_names_of_periods_units_and_coordinates_are_refused(read, comment):
    with pytest.raises(DataError, match=r"is ambiguous|must be"):
        read(comment)


@pytest.mark.parametrize(
    "comment",
    [
        f'{CUBE} {COLUMNS} cell_forces="1 0 0 0 1 0 0 0 1"',
        f'{CUBE} {COLUMNS} cell_stress="1 0 0 0 1 0 0 0 1"',
        f'{CUBE} {COLUMNS} original_cell="5 0 0 0 5 0 0 0 5"',
        f'{CUBE} {COLUMNS} lattice_strain=".1 0 0 0 0 0 0 0 0"',
        f'{CUBE} {COLUMNS} n_cells="2 2 2" vector_dipole="1 0 0"',
        f'{CUBE} {COLUMNS} pbc="T T T" boundary="p p p" periodic_dimensions=3',
        f'{CUBE} {COLUMNS} pbc="T T T" nonperiodic=F',
        f"{CUBE} {COLUMNS} periodic=T",
        f"{CUBE} {COLUMNS} length_unit=Angstrom coordinates=cartesian",
    ],
)
def test_keys_about_cells_that_change_nothing_are_kept(read, comment):
    atoms = read(comment)

    assert atoms.pbc.all()
    assert atoms.cell.lengths().tolist() == [8, 8, 8]


@pytest.mark.parametrize(
    "comment",
    ["Geometry of Au cluster", "XYZ Au13", "positions (AuCu)", "pm6 geometry"],
)
def test_gold_is_no_atomic_unit(read, comment):
    assert read(comment).info == {"comment": comment}


def test_n_cells_of_a_molecule_are_no_cell(read):
    assert not read(f'{COLUMNS} n_cells="2 2 2" vector_dipole="1 0 0"').pbc.any()


@pytest.mark.parametrize("factor", [1822.888, 1e-3, 1.66e-27, 103.64])
def test_masses_in_other_units_are_refused(read, factor):
    rows = [f"O 0 0 0 {15.999 * factor}", f"H 0 0 1 {1.008 * factor}"]

    with pytest.raises(DataError, match="times those of the elements, expected u"):
        read(f"{COLUMNS}:masses:R:1", rows)


@pytest.mark.parametrize("name", ["atomic_mass", "Atomic_Masses", "Particle_Mass"])
def test_masses_are_read_under_longer_names(read, name):
    atoms = read(f"{COLUMNS}:{name}:R:1", ["O 0 0 0 17.999", "H 0 0 1 2.014"])

    assert atoms.get_masses().tolist() == [17.999, 2.014]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "cp1252"])
def test_comments_may_be_in_any_encoding(tmp_path, encoding):
    path = tmp_path / "a.xyz"
    path.write_bytes(frame(f'{CUBE} {COLUMNS} note="5 Å"').encode(encoding))

    assert read_frame(path, 0).cell.lengths().tolist() == [8, 8, 8]


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        *((f":{name}:I:1", "") for name in ("fix_atoms", "isotope", "constraints")),
        *((f":{name}:L:1", "") for name in ("is_fixed", "move", "Moveable")),
        ("", "fixed_atoms=0"),
        ("", 'constraint="FixAtoms 0"'),
        ("", 'masses="18 2"'),
    ],
)
def test_commands_refuse_unknown_names_of_fixed_atoms_and_masses(
    tmp_path, columns, keys
):
    rows = [f"{row} 1" for row in ROWS] if columns else ROWS
    path = tmp_path / "a.xyz"
    path.write_text(frame(f"{COLUMNS}{columns} {keys}", rows))

    with pytest.raises(DataError, match=r"move_mask:L:1|masses:R:1"):
        read_structure(str(path))
    with pytest.raises(DataError, match=r"move_mask:L:1|masses:R:1"):
        read_start(StructureConfig(file=path))
