"""Sets in NumPy archives become extended XYZ in eV and Å, and nothing is guessed."""

import json
import zipfile

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from typer.testing import CliRunner

from equipot.cli.main import app
from equipot.data.reading.conversion import Units, read_npz_set
from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import read_structures

WATER = molecule("H2O")
KCAL = 0.0433641153  # eV; CODATA 2018
RNG = np.random.default_rng(0)
COORDS = WATER.positions + RNG.normal(scale=0.02, size=(4, 3, 3))
ENERGIES = -47900 + RNG.normal(size=4)
FORCES = RNG.normal(size=(4, 3, 3))
RMD17 = {
    "nuclear_charges": WATER.numbers.astype(np.uint8),
    "coords": COORDS,
    "energies": ENERGIES,
    "forces": FORCES,
    "old_indices": np.array([7, 3, 5, 1]),
    "old_energies": ENERGIES + 1,
    "old_forces": FORCES + 1,
}
SHORT = {"R": COORDS, "z": WATER.numbers, "E": ENERGIES[:, None], "F": FORCES}


def convert(tmp_path, entries, *options):
    np.savez(tmp_path / "a.npz", **entries)
    output = tmp_path / "a.xyz"
    arguments = ["data", "convert", tmp_path / "a.npz", "-o", output, *options]
    return CliRunner().invoke(app, [str(a) for a in arguments]), output


def test_rmd17_is_known_to_be_in_kcal_per_mol(tmp_path):
    result, output = convert(tmp_path, RMD17)

    assert result.exit_code == 0, result.output
    assert "as in all files of rMD17" in result.output
    assert "not converted: old_energies, old_forces" in result.output
    structures = read_structures(output)
    assert [s.atoms.info["old_index"] for s in structures] == [7, 3, 5, 1]
    for n, s in enumerate(structures):
        assert s.atoms.numbers.tolist() == WATER.numbers.tolist()
        np.testing.assert_allclose(
            float(s.labels.energy), ENERGIES[n] * KCAL, rtol=1e-6
        )
        np.testing.assert_allclose(s.labels.forces, FORCES[n] * KCAL, atol=1e-7)
        np.testing.assert_allclose(s.atoms.positions, COORDS[n], atol=1e-8)


@pytest.mark.parametrize(
    ("options", "energy", "length", "forces"),
    [
        (("--energy-unit", "eV", "--length-unit", "Å"), 1, 1, 1),
        (
            ("--energy-unit", "kJ/mol", "--length-unit", "Angstrom"),
            KCAL / 4.184,
            1,
            None,
        ),
        (("--energy-unit", "Ha", "--length-unit", "bohr"), 27.211386, 0.52917721, None),
        (
            ("--energy-unit", "eV", "--length-unit", "Å", "--forces-unit", "Ha/bohr"),
            *(1, 1, 27.211386 / 0.52917721),
        ),
    ],
)
def test_units_that_are_given_are_converted(tmp_path, options, energy, length, forces):
    entries = {**SHORT, "R": COORDS / length}

    result, output = convert(tmp_path, entries, *options)

    assert result.exit_code == 0, result.output
    first = read_structures(output)[0]
    np.testing.assert_allclose(
        float(first.labels.energy), ENERGIES[0] * energy, rtol=1e-6
    )
    expected = FORCES[0] * (energy / length if forces is None else forces)
    np.testing.assert_allclose(first.labels.forces, expected, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(first.atoms.positions, COORDS[0], atol=1e-6)


def test_units_that_the_file_tells_are_used(tmp_path):
    entries = {**SHORT, "e_unit": b"kcal/mol", "r_unit": b"Ang", "name": "water"}

    result, output = convert(tmp_path, entries)

    assert "as stated in the file" in result.output
    energy = float(read_structures(output)[0].labels.energy)
    np.testing.assert_allclose(energy, ENERGIES[0] * units.kcal / units.mol, rtol=1e-9)


def test_structures_of_different_size_are_filled_up_with_zeros(tmp_path):
    numbers = np.array([[8, 1, 1], [8, 1, 0]])
    entries = {"N": [3, 2], "Z": numbers, "R": COORDS[:2], "E": ENERGIES[:2]}

    result, output = convert(
        tmp_path, entries, "--energy-unit", "eV", "--length-unit", "Å"
    )

    assert result.exit_code == 0, result.output
    assert [len(s.atoms) for s in read_structures(output)] == [3, 2]


def test_a_split_is_kept_in_its_order(tmp_path):
    (tmp_path / "split.csv").write_text("2\n0\n")

    result, output = convert(tmp_path, RMD17, "--indices", tmp_path / "split.csv")

    assert result.exit_code == 0, result.output
    assert [s.atoms.info["old_index"] for s in read_structures(output)] == [5, 7]


EV = ("--energy-unit", "eV", "--length-unit", "Å")


@pytest.mark.parametrize(
    ("entries", "options", "message"),
    [
        (SHORT, (), "does not state its units"),
        (SHORT, ("--energy-unit", "eV"), "pass --length-unit"),
        (SHORT, ("--energy-unit", "cal", "--length-unit", "Å"), "unit of energy 'cal'"),
        (SHORT, (*EV, "--forces-unit", "newton"), "unknown unit of forces"),
        ({**SHORT, "e_unit": "Ha"}, EV, "the stated unit of energy is Ha"),
        ({**SHORT, "R": COORDS / 0.529}, EV, "--length-unit"),
        ({**SHORT, "energies": ENERGIES}, EV, "are both energies"),
        ({k: SHORT[k] for k in "zEF"}, EV, "has no positions"),
        ({k: SHORT[k] for k in "Rz"}, EV, "neither energies"),
        ({**SHORT, "lattice": np.eye(3)}, EV, "contains lattice"),
        ({**SHORT, "z": [8, 1]}, EV, "nuclear charges must have shape"),
        ({**SHORT, "z": [8, 1, 0.5]}, EV, "must be integers"),
        ({**SHORT, "z": [0, 8, 1]}, EV, "padding with 0 must follow"),
        ({**SHORT, "E": ENERGIES[:3]}, EV, "energies must have shape"),
        ({**SHORT, "F": FORCES[:, :2]}, EV, "forces must have shape"),
        ({**SHORT, "F": FORCES * np.inf}, EV, "infinite"),
        ({**SHORT, "R": COORDS * np.nan}, EV, "not finite"),
        ({**SHORT, "z": np.array(["O", "H", "H"])}, EV, "must contain numbers"),
        ({**SHORT, "z": np.array([object()] * 3)}, EV, "must contain numbers"),
    ],
)
def test_what_is_not_clear_is_refused(tmp_path, entries, options, message):
    result, output = convert(tmp_path, entries, *options)

    assert result.exit_code == 1
    assert message in " ".join(result.output.split())
    assert not output.exists()


def test_a_file_that_is_there_stays(tmp_path):
    (tmp_path / "a.xyz").write_text("mine")

    result, output = convert(tmp_path, RMD17)

    assert result.exit_code == 1
    assert output.read_text() == "mine"


def test_an_archive_that_announces_too_much_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", **RMD17)
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
        text = json.dumps(header).replace("false", "False").replace("[", "(")
        text = text.replace("]", ",)").ljust(117) + "\n"
        magic = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little")
        archive.writestr("more.npy", magic + text.encode())

    with pytest.raises(DataError, match="declares 8000000000"):
        read_npz_set(tmp_path / "a.npz", Units())
