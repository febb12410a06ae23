"""Weights of structures and groups, and labels that single atoms lack."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from equipot.config.data import DataConfig, KeysConfig
from equipot.data.dataset import load_dataset
from equipot.data.labels import collate_examples
from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import read_structures
from equipot.data.statistics import compute_statistics


def weighted(frames, weights, key="config_weight"):
    copies = [atoms.copy() for atoms in frames]
    for atoms, weight in zip(copies, weights, strict=True):
        if weight is not None:
            atoms.info[key] = weight
    return copies


def load(path, **rest):
    values = {"train": str(path), "valid": [str(path)], **rest}
    return load_dataset(DataConfig.model_validate(values), cutoff=3.0)


def test_structures_of_weight_zero_have_no_influence(metals, write_frames):
    spoilt = weighted(metals[:12], [0 if n % 3 else 1 for n in range(12)])
    for n, atoms in enumerate(spoilt):
        if n % 3:
            atoms.info["REF_energy"] += 100.0
            atoms.positions *= 1.1
            atoms.numbers[0] = 79
    path = write_frames(spoilt, "spoilt.xyz")
    clean = write_frames(metals[:12:3], "clean.xyz")

    found, expected = load(path), load(clean)

    for mine, theirs in ((found.train, expected.train), (found.valid, expected.valid)):
        assert len(mine) == len(theirs) == 4
        assert [e.source for e in mine] == [f"{path}#{n}" for n in (0, 3, 6, 9)]
        assert compute_statistics(mine) == compute_statistics(theirs)
        assert collate_examples(mine)[1].weights is None


def test_weights_reach_the_labels_of_a_batch(metals, write_frames):
    frames = weighted(metals[:3], [2, None, 0.5])
    frames[1].info["config_forces_weight"] = 3
    frames[2].info["config_energy_weight"] = 0

    _, labels = collate_examples(load(write_frames(frames)).train)

    expected = [[2, 2, 2, 2], [1, 3, 1, 1], [0, 0.5, 0.5, 0.5]]
    assert labels.weights.tolist() == expected
    assert labels.weight("forces").tolist() == [2, 3, 0.5]
    assert labels.energy.isnan().tolist() == [False, False, True]
    assert labels.to("cpu").weights is not None


def test_virials_have_their_own_weight(metals, write_frames):
    frames = weighted(metals[:1], [0], "config_virials_weight")
    frames[0].info["W"] = -frames[0].info["REF_stress"] * frames[0].get_volume()
    path = write_frames(frames)

    (of_stress,) = read_structures(path)
    (of_virials,) = read_structures(path, KeysConfig(virials="W"))

    assert of_stress.has == {"energy", "forces", "stress"}
    assert of_virials.has == {"energy", "forces"}


@pytest.mark.parametrize("key", ["config_weight", "Config_Weight", "CONFIG_WEIGHT"])
def test_weights_are_found_in_any_case(metals, write_frames, key):
    path = write_frames(weighted(metals[:2], [0, 1], key))

    assert [s.ignored for s in read_structures(path)] == [True, False]


def test_another_key_or_none_can_hold_the_weight(metals, write_frames):
    path = write_frames(weighted(metals[:2], [0, 1], "weight"))

    def ignored(**keys):
        return [s.ignored for s in read_structures(path, KeysConfig(**keys))]

    assert ignored() == [False, False]
    assert ignored(weight="weight") == [True, False]
    assert ignored(weight=None) == [False, False]
    with pytest.raises(DataError, match="sets weight = 'w'"):
        load(path, keys={"weight": "w"})


def test_groups_have_weights(metals, write_frames):
    frames = [atoms.copy() for atoms in metals[:6]]
    for n, atoms in enumerate(frames):
        atoms.info["config_type"] = "abc"[n % 3]
    path = write_frames(frames)

    dataset = load(path, weights={"a": 0, "b": 2.5})

    assert [e.config_type for e in dataset.train] == ["b", "c", "b", "c"]
    _, labels = collate_examples(dataset.train)
    assert labels.weight("energy").tolist() == [2.5, 1, 2.5, 1]
    with pytest.raises(DataError, match="contains d, but no structure has"):
        load(path, weights={"d": 1})
    with pytest.raises(DataError, match="no training structure has a positive weight"):
        load(path, weights=dict.fromkeys("abc", 0))


def test_a_reference_energy_needs_no_weight(metals, write_frames):
    atom = metals[0][:1]
    atom.info = {"config_type": "IsolatedAtom", "REF_energy": -1.0, "config_weight": 0}
    del atom.arrays["REF_forces"]

    dataset = load(write_frames([*metals[:2], atom]))

    assert dataset.isolated == {29: -1.0}


def test_atoms_may_lack_a_force(metals, write_frames):
    frames = [atoms.copy() for atoms in metals[:2]]
    frames[0].arrays["REF_forces"][2:5] = np.nan
    frames[1].arrays["REF_forces"][0, 1] = np.nan
    frames[1].info["REF_energy"] = np.nan
    frames[1].info["REF_stress"] = np.full((3, 3), np.nan)

    first, second = read_structures(write_frames(frames))

    absent = first.labels.forces.isnan()
    assert absent.all(dim=1).nonzero().flatten().tolist() == [2, 3, 4]
    assert int(absent.sum()) == 9
    assert second.has == {"forces"}
    assert second.labels.forces[0].isnan().all()
    assert_close(
        second.labels.forces[1:], torch.from_numpy(metals[1].arrays["REF_forces"][1:])
    )
