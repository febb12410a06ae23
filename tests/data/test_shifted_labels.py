"""Labels of the sets in data/, shifted by a column, a row or a frame, are found out."""

from pathlib import Path

import ase.io
import numpy as np
import pytest

from equipot.data.checks.check import examine

DATA = Path(__file__).parents[2] / "data"
CRYSTAL, REACTION = "dry_ice_valid.xyz", "vinyl_alcohol_valid.xyz"


def columns(frames, step):
    for atoms in frames:
        forces = atoms.arrays["REF_forces"]
        atoms.arrays["REF_forces"] = np.roll(forces, step, axis=1)


def rows(frames, step):
    for atoms in frames:
        forces = atoms.arrays["REF_forces"]
        atoms.arrays["REF_forces"] = np.roll(forces, step, axis=0)


def frames_of_forces(frames, step):
    forces = [atoms.arrays["REF_forces"] for atoms in frames]
    for n, atoms in enumerate(frames):
        atoms.arrays["REF_forces"] = forces[(n - step) % len(frames)].copy()


def frames_of_energies(frames, step):
    energies = [atoms.info["REF_energy"] for atoms in frames]
    for atoms, energy in zip(frames, np.roll(energies, step), strict=True):
        atoms.info["REF_energy"] = energy


def errors(file, folder, shift=None, step=0):
    """Messages of what `equipot data check` calls errors."""
    frames = ase.io.read(DATA / file, ":")
    if shift is not None:
        shift(frames, step)
    path = folder / "shifted.xyz"
    ase.io.write(path, frames, format="extxyz")
    return [f.message for f in examine([path]).findings if f.severity == "error"]


@pytest.mark.parametrize(
    ("shift", "step", "words"),
    [
        (columns, 1, "the columns of the forces are z x y: "),
        (columns, -1, "the columns of the forces are y z x: "),
        (rows, 1, "the forces of every atom are those that the next row lists: "),
        (rows, -1, "the forces of every atom are those that the previous row lists: "),
        (frames_of_forces, 1, "the forces are those that the next frame lists: "),
        (frames_of_forces, -1, "the forces are those that the previous frame lists"),
        (frames_of_energies, 1, "energies that the next frame lists fit the structu"),
        (frames_of_energies, -1, "energies that the previous frame lists fit the st"),
    ],
)
def test_labels_of_a_crystal_in_the_wrong_place_are_found(shift, step, words, tmp_path):
    (message,) = errors(CRYSTAL, tmp_path, shift, step)

    assert words in message


@pytest.mark.parametrize(
    ("shift", "step", "words"),
    [
        (rows, 1, "the forces of every atom are those that the next row lists: "),
        (frames_of_energies, 1, "energies that the next frame lists fit the structu"),
        (frames_of_energies, -1, "energies that the previous frame lists fit the st"),
    ],
)
def test_so_are_those_of_molecules_that_pairs_describe_badly(
    shift, step, words, tmp_path
):
    (message,) = errors(REACTION, tmp_path, shift, step)

    assert words in message


@pytest.mark.parametrize("file", [CRYSTAL, REACTION])
def test_labels_in_their_place_are_right(file, tmp_path):
    assert errors(file, tmp_path) == []


def test_energies_of_noise_are_not_called_shifted(tmp_path):
    def scramble(frames, step):
        rng = np.random.default_rng(step)
        for atoms in frames:
            atoms.info["REF_energy"] = float(rng.normal())

    for seed in range(3):
        assert not any(
            "shifted" in message
            for message in errors(CRYSTAL, tmp_path, scramble, seed)
        )
