import hashlib

import numpy as np
import pytest
from ase import Atoms

from equipot.config.data import DataConfig
from equipot.data.dataset import load_dataset
from equipot.data.reading.errors import DataError


def config(train, **rest) -> DataConfig:
    return DataConfig.model_validate({"train": str(train), "valid": 0.25, **rest})


def isolated(symbol: str, energy: float) -> Atoms:
    info = {"REF_energy": energy, "config_type": "IsolatedAtom"}
    return Atoms(symbol, positions=[[0, 0, 0]], info=info)


def test_a_split_loses_and_doubles_nothing(metals, write_frames):
    path = write_frames(metals[:20])

    dataset = load_dataset(config(path), cutoff=3.0, seed=1)

    sources = [e.source for e in dataset.train + dataset.valid]
    assert len(dataset.valid) == 5
    assert sorted(sources) == sorted(f"{path}#{n}" for n in range(20))
    assert dataset.hashes == {str(path): hashlib.sha256(path.read_bytes()).hexdigest()}


def test_the_split_depends_on_the_seed_of_the_run_unless_it_has_its_own(
    metals, write_frames
):
    path = write_frames(metals[:20])

    def validation(seed, **rest):
        dataset = load_dataset(config(path, **rest), cutoff=3.0, seed=seed)
        return [e.source for e in dataset.valid]

    assert validation(1) == validation(1)
    assert validation(1) != validation(2)
    assert validation(1, split_seed=7) == validation(2, split_seed=7)


def test_every_element_stays_in_training(metals, write_frames):
    rare = metals[0].copy()
    rare.numbers[0] = 79
    path = write_frames([rare, *metals[1:4]])

    for seed in range(5):
        dataset = load_dataset(config(path, valid=2), cutoff=3.0, seed=seed)
        assert all(79 not in e.graph.atomic_numbers for e in dataset.valid)


def test_isolated_atoms_are_references_and_not_structures(metals, write_frames):
    frames = [isolated("Cu", -1.5), *metals[:4], isolated("Ag", -2.5)]

    dataset = load_dataset(config(write_frames(frames), valid=0), cutoff=3.0)

    assert dataset.isolated == {29: -1.5, 47: -2.5}
    assert len(dataset.train) == 4


def test_contradicting_isolated_atoms_are_refused(metals, write_frames):
    frames = [isolated("Cu", -1.5), isolated("Cu", -1.6), *metals[:2]]

    with pytest.raises(DataError, match="two energies of the isolated atom Cu"):
        load_dataset(config(write_frames(frames)), cutoff=3.0)


def test_missing_files_are_named_with_the_folder_that_was_looked_in(
    metals, write_frames
):
    path = write_frames(metals[:4])
    files = DataConfig(
        root=path.parent, train=[path.name, "a.xyz"], valid=["b.xyz"], test=["a.xyz"]
    )

    message = rf"no such file: \S+a\.xyz, \S+b\.xyz; .* which is {path.parent}"
    with pytest.raises(DataError, match=message):
        load_dataset(files, cutoff=3.0)


def test_files_of_other_sets_are_kept_apart(metals, write_frames):
    train = write_frames(metals[:4])
    valid = write_frames(metals[4:6], "valid.xyz")
    test = write_frames(metals[6:9], "hot.xyz")

    dataset = load_dataset(
        config(train, valid=str(valid), test=[str(test)]), cutoff=3.0
    )

    assert [len(dataset.train), len(dataset.valid)] == [4, 2]
    assert {name: len(e) for name, e in dataset.test.items()} == {"hot": 3}


def test_a_named_key_that_no_structure_has_lists_those_that_are_there(
    metals, write_frames
):
    path = write_frames(metals[:4])

    with pytest.raises(
        DataError, match=r"energy = 'E0', but no structure has it.*REF_e"
    ):
        load_dataset(config(path, energy_key="E0"), cutoff=3.0)


def test_a_default_key_that_no_structure_has_leaves_the_label_absent(
    molecules, write_frames
):
    dataset = load_dataset(config(write_frames(molecules[:4])), cutoff=3.0)

    assert dataset.train[0].labels.stress.isnan().all()


def test_a_file_without_any_label_is_refused(metals, write_frames):
    bare = [Atoms(m.numbers, m.positions, cell=m.cell, pbc=True) for m in metals[:2]]
    for atoms in bare:
        atoms.info["dft"] = 1.0
    valid = write_frames(bare, "valid.xyz")

    with pytest.raises(DataError, match=r"valid\.xyz: has no labels.*keys are dft"):
        load_dataset(config(write_frames(metals[:4]), valid=str(valid)), cutoff=3.0)


def test_a_test_set_with_an_unknown_element_is_refused(metals, write_frames):
    other = metals[5].copy()
    other.numbers[:] = 79
    test = write_frames([other], "gold.xyz")

    with pytest.raises(DataError, match="contains Au, but no training structure does"):
        load_dataset(config(write_frames(metals[:4]), test=str(test)), cutoff=3.0)


def test_atoms_at_one_place_are_refused(metals, write_frames):
    doubled = metals[0].copy()
    doubled.positions[1] = doubled.positions[0] + [0, 0, 1e-3]

    with pytest.raises(DataError, match=r"#0: atoms .* Å apart"):
        load_dataset(config(write_frames([doubled]), valid=0), cutoff=3.0)


def test_too_large_a_validation_set_is_refused(metals, write_frames):
    with pytest.raises(DataError, match="cannot take 4 of 4 structures"):
        load_dataset(config(write_frames(metals[:4]), valid=4), cutoff=3.0)


def test_progress_names_the_files(metals, write_frames):
    path, seen = write_frames(metals[:4]), []

    load_dataset(config(path), cutoff=3.0, progress=seen.append)

    assert seen == [f"reading {path}", "finding neighbors"]
    assert np.isfinite(len(seen))
