import gzip
import pickle
from pathlib import Path

import ase.db
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write
from torch.testing import assert_close

from equipot.config.data import KeysConfig
from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import parse_structure, read_structures

PLAIN = KeysConfig(energy="energy", forces="forces", stress="stress")


def assert_labels_equal(structures, frames):
    for s, atoms in zip(structures, frames, strict=True):
        assert_close(
            float(s.labels.energy), atoms.info["REF_energy"], rtol=0, atol=1e-8
        )
        expected = torch.from_numpy(atoms.arrays["REF_forces"])
        assert_close(s.labels.forces, expected, rtol=0, atol=1e-7)
        expected = torch.from_numpy(np.asarray(atoms.info["REF_stress"]))[None]
        assert_close(s.labels.stress, expected, rtol=0, atol=1e-12)


def with_calculator(atoms: Atoms) -> Atoms:
    """The labels where ASE itself keeps them."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    s = atoms.info["REF_stress"]
    bare.calc = SinglePointCalculator(
        bare,
        energy=atoms.info["REF_energy"],
        forces=atoms.arrays["REF_forces"],
        stress=[s[0, 0], s[1, 1], s[2, 2], s[1, 2], s[0, 2], s[0, 1]],
    )
    return bare


def test_labels_of_an_extxyz_file_are_read_as_they_were_written(metals, write_frames):
    path = write_frames(metals[:5])

    structures = read_structures(path)

    assert_labels_equal(structures, metals[:5])
    assert structures[3].source == f"{path}#3"
    assert structures[0].config_type == "default"


@pytest.mark.parametrize("name", ["a.xyz", "a.traj", "a.db", "a.json"])
def test_labels_in_a_calculator_are_found(metals, tmp_path, name):
    write(tmp_path / name, [with_calculator(atoms) for atoms in metals[:3]])

    structures = read_structures(tmp_path / name, PLAIN)

    assert_labels_equal(structures, metals[:3])


def test_labels_in_pairs_and_data_of_a_database_are_found(metals, tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        for atoms in metals[:3]:
            data = {k: np.asarray(atoms.info[k]) for k in ["REF_stress"]}
            data["REF_forces"] = atoms.arrays["REF_forces"]
            pairs = {"REF_energy": atoms.info["REF_energy"], "config_type": "md"}
            database.write(atoms, key_value_pairs=pairs, data=data)

    structures = read_structures(tmp_path / "a.db")

    assert_labels_equal(structures, metals[:3])
    assert {s.config_type for s in structures} == {"md"}


def test_a_compressed_file_is_read(metals, write_frames):
    path = write_frames(metals[:2])
    packed = path.with_suffix(".xyz.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))

    assert_labels_equal(read_structures(packed), metals[:2])


def test_frames_after_a_blank_line_are_not_lost(metals, write_frames):
    path = write_frames(metals[:2])
    path.write_text(path.read_text() + "\n\n" + path.read_text() + "\n")

    assert len(read_structures(path)) == 4


def test_forces_of_fixed_atoms_are_read_as_they_are(metals, tmp_path):
    atoms = with_calculator(metals[0])
    atoms.set_constraint(FixAtoms([0, 1]))
    write(tmp_path / "a.traj", atoms)

    (structure,) = read_structures(tmp_path / "a.traj", PLAIN)

    assert structure.labels.forces[0].abs().max() > 0.01


def test_absent_labels_are_nan(metals, write_frames):
    atoms = metals[0].copy()
    del atoms.info["REF_energy"], atoms.arrays["REF_forces"]

    (structure,) = read_structures(write_frames([atoms]))

    assert structure.has == {"stress"}
    assert structure.labels.forces.isnan().all()


@pytest.mark.parametrize("form", ["voigt", "nine", "matrix"])
def test_every_form_of_the_stress_gives_the_same_matrix(metals, write_frames, form):
    atoms = metals[0].copy()
    s = np.asarray(atoms.info["REF_stress"])
    forms = {
        "voigt": [s[0, 0], s[1, 1], s[2, 2], s[1, 2], s[0, 2], s[0, 1]],
        "nine": s.reshape(9),
        "matrix": s,
    }
    atoms.info["REF_stress"] = forms[form]

    (structure,) = read_structures(write_frames([atoms]))

    assert_close(structure.labels.stress[0], torch.from_numpy(s), rtol=0, atol=1e-12)


def test_stress_is_minus_virial_over_volume(metals, write_frames):
    atoms = metals[0].copy()
    stress = np.asarray(atoms.info.pop("REF_stress"))
    atoms.info["W"] = -stress * atoms.get_volume()

    (structure,) = read_structures(write_frames([atoms]), KeysConfig(virials="W"))

    expected = torch.from_numpy(stress)
    assert_close(structure.labels.stress[0], expected, rtol=0, atol=1e-12)


def test_zero_stress_of_a_molecule_is_absent(molecules, write_frames):
    atoms = molecules[0].copy()
    atoms.info["REF_stress"] = np.zeros(6)

    (structure,) = read_structures(write_frames([atoms]))

    assert structure.has == {"energy", "forces"}


def test_stress_of_a_slab_is_refused(metals, write_frames):
    atoms = metals[0].copy()
    atoms.pbc = (True, True, False)

    with pytest.raises(DataError, match="2 of 3 directions and so has no volume"):
        read_structures(write_frames([atoms]))


def broken(change):
    """A test case: what is done to a frame."""
    return pytest.param(change, id=change.__name__)


def nan_position(atoms):
    atoms.positions[3, 1] = np.nan


def infinite_energy(atoms):
    atoms.info["REF_energy"] = np.inf


def infinite_force(atoms):
    atoms.arrays["REF_forces"][2, 0] = -np.inf


def nan_stress_component(atoms):
    atoms.info["REF_stress"] = np.where(np.eye(3), 0.1, np.nan)


def mask_of_forces(atoms):
    atoms.arrays["force_mask"] = np.ones(len(atoms), dtype=bool)


def other_unit(atoms):
    atoms.info["energy_unit"] = "Hartree"


def negative_weight(atoms):
    atoms.info["config_weight"] = -1


def word_weight(atoms):
    atoms.info["config_weight"] = "high"


def species_zero(atoms):
    atoms.numbers[1] = 0


def flat_cell(atoms):
    atoms.cell[2] = atoms.cell[0] + atoms.cell[1]


def two_energies(atoms):
    atoms.info["REF_energy"] = [1.0, 2.0]


def word_energy(atoms):
    atoms.info["REF_energy"] = "unknown"


def flat_forces(atoms):
    atoms.arrays["REF_forces"] = atoms.arrays["REF_forces"][:, 0].copy()


def skew_stress(atoms):
    atoms.info["REF_stress"] = np.arange(9.0).reshape(3, 3)


def four_stresses(atoms):
    atoms.info["REF_stress"] = np.arange(4.0)


def logical_energy(atoms):
    atoms.info["REF_energy"] = True


def nan_cell(atoms):
    atoms.cell[0, 0] = np.nan


def isolated_pair(atoms):
    atoms.info["config_type"] = "IsolatedAtom"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nan_position, "#1: the position of atom 3 is not finite"),
        (infinite_energy, "#1: REF_energy contains infinite values"),
        (infinite_force, "#1: REF_forces contains infinite values"),
        (nan_stress_component, "#1: REF_stress is nan in some components"),
        (mask_of_forces, "#1: the column force_mask is not supported: write nan"),
        (other_unit, "#1: energy_unit='Hartree', but labels must be in eV"),
        (negative_weight, "#1: config_weight must be a nonnegative number"),
        (word_weight, "#1: config_weight must contain numbers, got 'high'"),
        (species_zero, "#1, line 19: atom 1 is 'X', a dummy atom"),
        (flat_cell, "#1: 3 periodic lattice vectors"),
        (two_energies, "#1: REF_energy must be one number"),
        (logical_energy, "#1: REF_energy must contain numbers, got 'True'"),
        (nan_cell, "#1: the cell is not finite"),
        (word_energy, "#1: REF_energy must contain numbers, got 'unknown'"),
        (flat_forces, r"#1: REF_forces must have shape \(16, 3\)"),
        (skew_stress, "#1: REF_stress is not symmetric"),
        (four_stresses, "#1: REF_stress must be 3x3, 9 numbers, or 6"),
        (isolated_pair, "#1: is marked config_type=IsolatedAtom, but has 16 atoms"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_nonsense_is_refused_with_file_frame_and_key(
    metals, write_frames, change, message
):
    bad = metals[1].copy()
    change(bad)
    path = write_frames([metals[0], bad])

    with pytest.raises(DataError, match=message) as caught:
        read_structures(path)

    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("two\n\nH 0 0 0\n", "#0, line 1: expected a number of atoms, got 'two'"),
        ("1\n\nH 0 0 0\n2\n\nH 0 0 0\n", "#1, line 4: declares 2 atoms, got 1"),
        ("1\n\nH 0 0\n", "#0, line 1: plain XYZ needs 4 columns, atom 0 has 3"),
        ("1\n\nQq 0 0 0\n", "#0, line 1: atom 0 is 'Qq', which is not an element"),
        ("", "is empty"),
        ("\n \n", "contains no structure"),
    ],
)
def test_errors_of_frames_name_the_line(tmp_path, content, message):
    path = tmp_path / "bad.extxyz"
    path.write_text(content)

    with pytest.raises(DataError, match=message):
        read_structures(path)


def test_an_isolated_atom_without_energy_is_refused(write_frames):
    atoms = Atoms("H", info={"config_type": "IsolatedAtom", "e0": -1.0})

    with pytest.raises(DataError, match=r"needs an energy .*'REF_energy'; it has .*e0"):
        read_structures(write_frames([atoms]))


def test_a_structure_without_atoms_is_refused():
    with pytest.raises(DataError, match="a#0: has no atoms"):
        parse_structure(Atoms(), KeysConfig(), "a#0")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a directory, expected a file"):
        read_structures(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no such file: .*none\.xyz"):
        read_structures(tmp_path / "none.xyz")


def test_bytes_of_no_format_are_refused_with_what_to_do(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"\xff\xfe\xfd")

    with pytest.raises(DataError, match="ASE has no reader for it; convert it to"):
        read_structures(path)


def test_an_unknown_format_is_named(tmp_path):
    path = tmp_path / "data.abc"
    path.write_text("what is this\n")

    with pytest.raises(DataError, match="ASE has no reader for format 'abc'"):
        read_structures(path)


class Bomb:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("exploded"),))


@pytest.mark.parametrize("name", ["a.pkl", "a.xyz", "a.traj", "a.db"])
@pytest.mark.parametrize("protocol", [0, 4])
def test_pickles_are_refused_unopened(tmp_path, monkeypatch, name, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))

    with pytest.raises(DataError):
        read_structures(path)

    assert not (tmp_path / "exploded").exists()
