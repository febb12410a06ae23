"""Which structures a model carries."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from equipot.data.labels import Example, Labels
from equipot.data.samples import (
    MAX_ATOMS,
    MAX_STRUCTURES,
    choose_samples,
    sample_from_json,
    sample_to_json,
)
from equipot.neighbors import build_graph


def example(atoms, config_type="default"):
    graph = build_graph(atoms, 4.0)
    absent = Labels(
        torch.full((1,), torch.nan).double(),
        torch.full((len(atoms), 3), torch.nan).double(),
        torch.full((1, 3, 3), torch.nan).double(),
    )
    return Example(graph, absent, config_type, "made up")


def formulas(samples):
    return [str(atoms.symbols) for atoms in samples]


def test_samples_are_small_and_differ_in_elements_periods_and_groups():
    ethanol, water = molecule("CH3CH2OH"), molecule("H2O")
    crystal = bulk("C", cubic=True)
    examples = [
        *(example(ethanol) for _ in range(5)),
        example(crystal),
        *(example(water) for _ in range(5)),
        example(molecule("CH4"), "hot"),
    ]

    samples = choose_samples(examples)

    assert formulas(samples) == ["OH2", "CH4", "C8", "OH2"]
    assert samples[2].pbc.all()
    np.testing.assert_array_equal(samples[2].cell.array, crystal.cell.array)
    assert not any(atoms.info or atoms.calc for atoms in samples)


def test_the_number_of_structures_and_atoms_is_bounded():
    many = choose_samples([example(molecule("H2O")) for _ in range(50)])
    large = choose_samples([example(bulk("Cu") * (4, 4, 5)) for _ in range(9)])
    huge = choose_samples([example(bulk("Cu") * (6, 6, 6))])

    assert len(many) == MAX_STRUCTURES
    assert sum(map(len, large)) <= MAX_ATOMS
    assert len(large) == 2
    assert huge == []


def test_atoms_without_neighbors_show_nothing():
    assert choose_samples([example(Atoms("H", positions=[[0, 0, 0]]))]) == []
    assert choose_samples([]) == []


def test_json_keeps_every_bit():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.1, seed=1)
    atoms.pbc = [True, True, False]

    again = sample_from_json(json.loads(json.dumps(sample_to_json(atoms))))

    assert (again.positions == atoms.positions).all()
    assert (again.cell.array == atoms.cell.array).all()
    assert (again.numbers == atoms.numbers).all()
    assert (again.pbc == atoms.pbc).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_coordinates_must_be_finite(bad):
    values = sample_to_json(molecule("H2O"))
    values["positions"][0][0] = bad

    with pytest.raises(ValueError, match="not finite"):
        sample_from_json(values)
