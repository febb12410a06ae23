"""Hessians as labels: what is read, and what is refused."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from torch.testing import assert_close

from equipot.config.data import DataConfig, KeysConfig
from equipot.data.dataset import load_dataset
from equipot.data.labels import collate_examples
from equipot.data.ragged import RaggedMatrices
from equipot.data.reading.errors import DataError
from equipot.data.reading.hessians import highest_frequency
from equipot.data.reading.labeled import read_structures

HORM = Path(__file__).parents[3] / "shared" / "data" / "hessian_horm100"
STIFFNESS = 15.0


def springs(atoms: Atoms, scale: float = STIFFNESS) -> np.ndarray:
    """Hessian in eV/Å^2 of springs between all atoms, at rest."""
    n = len(atoms)
    hessian = np.zeros((n, 3, n, 3))
    for i in range(n):
        for j in range(i):
            d = atoms.positions[i] - atoms.positions[j]
            block = scale * np.outer(d, d) / (d @ d)
            hessian[i, :, i] += block
            hessian[j, :, j] += block
            hessian[i, :, j] -= block
            hessian[j, :, i] -= block
    return hessian.reshape(3 * n, 3 * n)


@pytest.fixture
def frames():
    out = []
    for n, name in enumerate(["H2O", "CO2", "CH3OH"]):
        atoms = molecule(name)
        atoms.rattle(0.02, seed=n)
        atoms.info["REF_energy"] = float(-n)
        atoms.arrays["REF_forces"] = np.zeros((len(atoms), 3))
        out.append(atoms)
    return out


@pytest.fixture
def write(tmp_path, frames):
    """Writes the frames, and arrays beside them; returns how to read them."""

    def read(**arrays):
        ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
        np.savez(tmp_path / "a.npz", **arrays)
        return read_structures(tmp_path / "a.xyz", None, tmp_path / "a.npz")

    return read


def hessian_of(structure):
    (matrix,) = structure.labels.hessian.matrices
    return matrix.numpy()


def test_entries_belong_to_the_frames_of_their_numbers(write, frames):
    hessians = [springs(atoms) for atoms in frames]

    structures = write(**{"000": hessians[0], "2": hessians[2].astype(np.float32)})

    assert_close(hessian_of(structures[0]), hessians[0], rtol=0, atol=0)
    assert structures[1].labels.hessian is None
    assert_close(hessian_of(structures[2]), hessians[2], rtol=1e-6, atol=1e-5)


def test_structures_may_name_their_entries(write, frames):
    frames[2].info["REF_hessian"] = "methanol"

    structures = write(methanol=springs(frames[2]), **{"0": springs(frames[0])})

    assert [s.labels.hessian is None for s in structures] == [False, True, False]
    assert_close(hessian_of(structures[2]), springs(frames[2]), rtol=0, atol=0)


@pytest.mark.parametrize("shape", ["matrix", "flat"])
def test_small_hessians_may_be_in_the_file_itself(tmp_path, frames, shape):
    matrix = springs(frames[0])
    frames[0].info["REF_hessian"] = matrix if shape == "matrix" else matrix.ravel()
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")

    structures = read_structures(tmp_path / "a.xyz")

    assert_close(hessian_of(structures[0]), matrix, rtol=0, atol=1e-7)
    assert structures[1].labels.hessian is None


def test_rounding_is_made_symmetric(write, frames):
    noisy = springs(frames[0])
    noisy[0, 4] += 0.05

    (label, *_) = write(**{"0": noisy})

    assert_close(hessian_of(label), (noisy + noisy.T) / 2, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h[:6, :6], r"of 3 atoms must have shape \(9, 9\).*got \(6, 6\)"),
        (lambda h: h.reshape(3, 27), r"must have shape \(9, 9\).*got \(3, 27\)"),
        (lambda h: h * np.nan, "values that are not finite"),
        (np.triu, "differs from its transpose by up to"),
        (lambda h: h / 97.17, r"highest frequency would be \d+.*from Hartree/Bohr"),
        (lambda h: h * 23.06, r"highest frequency would be \d\.\d+e\+04/cm, expected"),
        (lambda h: h.astype(str), r"must contain numbers|could not|expected"),
    ],
    ids=["short", "shape", "nan", "asymmetric", "hartree", "kcal", "text"],
)
def test_what_does_not_make_sense_is_refused(write, frames, change, message):
    hessian = change(springs(frames[0]))
    if hessian.dtype.kind == "U":
        hessian = np.full((9, 9), "x")

    with pytest.raises(DataError, match=rf"a\.npz\['000'\]: .*({message})"):
        write(**{"000": hessian})


def test_entries_without_a_frame_are_refused(write, frames):
    with pytest.raises(DataError, match=r"1 of 2 entries match no structure \(3\)"):
        write(**{"0": springs(frames[0]), "3": springs(frames[0])})


def test_a_named_entry_that_is_missing_is_refused(write, frames):
    frames[1].info["REF_hessian"] = "co2"

    with pytest.raises(DataError, match=r"a\.xyz#1: has the Hessian 'co2', which"):
        write(**{"0": springs(frames[0])})


def test_two_hessians_for_a_structure_are_refused(write, frames):
    frames[0].info["REF_hessian"] = springs(frames[0])

    with pytest.raises(DataError, match="has a Hessian in the structure file and"):
        write(**{"0": springs(frames[0])})


def test_a_name_without_a_file_is_refused(tmp_path, frames):
    frames[0].info["REF_hessian"] = "water"
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")

    with pytest.raises(DataError, match=r"set that file in data\.hessians"):
        read_structures(tmp_path / "a.xyz")


def test_large_hessians_do_not_go_through_text(tmp_path):
    atoms = bulk("Cu", cubic=True).repeat((3, 3, 3))
    atoms.info["REF_hessian"] = np.zeros((3 * len(atoms)) ** 2, dtype=int)
    ase.io.write(tmp_path / "a.xyz", atoms, format="extxyz")

    with pytest.raises(DataError, match=r"104976 numbers of a Hessian in a text file"):
        read_structures(tmp_path / "a.xyz")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file, set in data.hessians"), (b"x", "cannot be read")],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, frames, content, message):
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    if content is not None:
        (tmp_path / "a.npz").write_bytes(content)

    with pytest.raises(DataError, match=message):
        read_structures(tmp_path / "a.xyz", None, tmp_path / "a.npz")


def test_a_pickle_is_refused(tmp_path, frames):
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    np.savez(tmp_path / "a.npz", **{"0": np.array([{}], dtype=object)})

    with pytest.raises(DataError, match=r"cannot be read as \.npz: Object arrays"):
        read_structures(tmp_path / "a.xyz", None, tmp_path / "a.npz")


def test_data_sets_have_their_hessians_and_hashes(tmp_path, frames, write):
    write(**{"0": springs(frames[0]), "2": springs(frames[2])})
    config = DataConfig.model_validate(
        {
            "root": tmp_path,
            "train": "a.xyz",
            "valid": 0,
            "hessians": {"a.xyz": "a.npz"},
        }
    )

    dataset = load_dataset(config, 3.0)
    _, labels = collate_examples(dataset.train)

    assert labels.hessian.sizes.tolist() == [9, 0, 18]
    assert len(labels.hessian.values) == 9**2 + 18**2
    assert [m is None for m in labels.hessian.matrices] == [False, True, False]
    assert set(dataset.hashes) == {"a.xyz", "a.npz"}


def test_hessians_of_a_file_that_is_not_used_are_refused():
    with pytest.raises(
        ValueError, match=r"hessians has b\.xyz, which is not a file of"
    ):
        DataConfig.model_validate({"train": "a.xyz", "hessians": {"b.xyz": "b.npz"}})


def test_ragged_matrices_come_back():
    matrices = [torch.rand(3, 3), None, torch.rand(6, 6)]

    ragged = RaggedMatrices.of(matrices)

    for found, expected in zip(ragged.matrices, matrices, strict=True):
        assert (found is None) == (expected is None)
        assert expected is None or torch.equal(found, expected)


def test_highest_frequency_of_a_diatomic():
    """Of a spring k between masses m and M: sqrt(k (1/m + 1/M)); 1/cm by CODATA."""
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, 1.1]])
    m, big = atoms.get_masses()
    joule, metre, kilogram = 1.602176634e-19, 1e-10, 1.66053906660e-27
    omega = np.sqrt(100 * (1 / m + 1 / big) * joule / metre**2 / kilogram)

    found = highest_frequency(springs(atoms, 100.0), atoms)

    assert_close(found, omega / (2 * np.pi * 29979245800.0), rtol=1e-8, atol=0)


@pytest.mark.skipif(not HORM.is_dir(), reason="needs the set hessian_horm100")
def test_density_functional_hessians_are_read():
    structures = read_structures(
        HORM / "horm_train.extxyz", KeysConfig(), HORM / "hessians_horm_train.npz"
    )

    assert len(structures) == 80
    for s in structures:
        assert 2900 < highest_frequency(hessian_of(s), s.atoms) < 4200
