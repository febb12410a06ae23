"""The labeled structures in data/ are what data/README.md says they are."""

import hashlib
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from equipot.data.reading.labeled import read_structures
from equipot.data.structure import Structure

DATA = Path(__file__).parents[2] / "data"
SETS = {
    "alanine_dipeptide": ("GFN2-xTB", ["train", "valid", "test_300K", "test_600K"]),
    "dry_ice": (
        "GFN1-xTB",
        ["train", "valid", "test", "test_500K", "equation_of_state"],
    ),
    "vinyl_alcohol": ("GFN2-xTB", ["train", "valid", "test", "stationary"]),
}
FILES = [
    f"{name}_{split}.xyz" for name, (_, splits) in SETS.items() for split in splits
]


@cache
def structures(file: str) -> list[Structure]:
    return read_structures(DATA / file)


def method_of(file: str) -> str:
    return next(method for name, (method, _) in SETS.items() if file.startswith(name))


def test_checksums_are_those_of_the_readme():
    listed = re.findall(r"([0-9a-f]{64})  (\S+)", (DATA / "README.md").read_text())

    found = [
        (hashlib.sha256((DATA / file).read_bytes()).hexdigest(), file) for file in FILES
    ]

    assert sorted(listed) == sorted(found)


def test_data_stay_small():
    assert sum(path.stat().st_size for path in DATA.iterdir()) < 5e6


@pytest.mark.parametrize("file", FILES)
def test_forces_of_a_structure_cancel(file):
    for structure in structures(file):
        net = structure.labels.forces.sum(dim=0).abs().max()

        assert net < 1e-6 * len(structure.atoms) + 1e-9  # forces are rounded to 1e-6


@pytest.mark.parametrize("name", SETS)
def test_training_sets_have_the_free_atom_of_every_element(name):
    train = structures(f"{name}_train.xyz")

    isolated = [s.atoms.symbols[0] for s in train if s.isolated]

    elements = {symbol for s in train for symbol in s.atoms.symbols}
    assert sorted(isolated) == sorted(elements)


@pytest.mark.parametrize("name", SETS)
def test_no_structure_is_in_two_files(name):
    positions = [
        s.atoms.positions.tobytes()
        for split in SETS[name][1]
        for s in structures(f"{name}_{split}.xyz")
        if not s.isolated
    ]

    assert len(set(positions)) == len(positions)


@pytest.mark.parametrize(
    ("cold", "hot"),
    [
        ("alanine_dipeptide_test_300K.xyz", "alanine_dipeptide_test_600K.xyz"),
        ("dry_ice_test.xyz", "dry_ice_test_500K.xyz"),
    ],
)
def test_hotter_structures_have_larger_forces(cold, hot):
    rms = [
        np.sqrt(np.mean([s.labels.forces.square().mean() for s in structures(file)]))
        for file in (cold, hot)
    ]

    assert rms[1] > 1.2 * rms[0]


def test_the_equation_of_state_has_a_minimum_inside():
    curve = structures("dry_ice_equation_of_state.xyz")

    energies = [float(s.labels.energy) for s in curve]
    pressures = [-float(s.labels.stress[0].trace()) / 3 for s in curve]

    assert 0 < int(np.argmin(energies)) < len(curve) - 1
    assert pressures == sorted(pressures, reverse=True)
    assert pressures[0] > 0 > pressures[-1]


def test_the_saddle_point_is_stationary_and_above_both_minima():
    enol, saddle, keto = structures("vinyl_alcohol_stationary.xyz")

    for point in (enol, saddle, keto):
        assert point.labels.forces.abs().max() < 1e-3
    assert float(saddle.labels.energy - enol.labels.energy) == pytest.approx(
        2.67, abs=0.01
    )
    assert float(enol.labels.energy - keto.labels.energy) == pytest.approx(
        0.248, abs=1e-3
    )


@pytest.mark.parametrize("file", FILES)
def test_labels_can_be_computed_again(file):
    structure = structures(file)[-1]
    calculator = _tblite(method_of(file))

    energy = calculator.get_potential_energy(structure.atoms)
    forces = calculator.get_forces(structure.atoms)

    assert energy == pytest.approx(float(structure.labels.energy), abs=1e-5)
    np.testing.assert_allclose(forces, structure.labels.forces, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "file", ["alanine_dipeptide_test_300K.xyz", "dry_ice_test.xyz"]
)
def test_forces_are_the_derivative_of_the_energy(file):
    structure = structures(file)[-1]
    direction = np.random.default_rng(0).normal(size=structure.atoms.positions.shape)
    step = 1e-4

    energies = [
        _tblite(method_of(file)).get_potential_energy(
            _moved(structure.atoms, sign * step * direction)
        )
        for sign in (1, -1)
    ]

    expected = -float((structure.labels.forces.numpy() * direction).sum())
    assert (energies[0] - energies[1]) / (2 * step) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 2), (0, 1), (1, 2)])
def test_stress_is_the_strain_derivative_of_the_energy(row, column):
    structure = structures("dry_ice_test.xyz")[-1]
    step = 1e-3

    energies = [
        _tblite(method_of("dry_ice")).get_potential_energy(
            _strained(structure.atoms, row, column, sign * step)
        )
        for sign in (1, -1)
    ]

    volume = structure.atoms.get_volume()
    stress = (energies[0] - energies[1]) / (2 * step * volume)
    assert stress == pytest.approx(
        float(structure.labels.stress[0, row, column]), abs=2e-5
    )


def _tblite(method: str):
    tblite = pytest.importorskip(
        "tblite.ase", reason="recomputing labels needs equipot[data]"
    )
    return tblite.TBLite(method=method, verbosity=0, accuracy=0.05)


def _moved(atoms: Atoms, displacement: np.ndarray) -> Atoms:
    moved = atoms.copy()
    moved.positions += displacement
    return moved


def _strained(atoms: Atoms, row: int, column: int, amount: float) -> Atoms:
    strain = np.eye(3)
    strain[row, column] += amount / 2
    strain[column, row] += amount / 2
    strained = atoms.copy()
    strained.set_cell(atoms.cell @ strain, scale_atoms=True)
    return strained
