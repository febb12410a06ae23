import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, diamond100
from ase.neighborlist import neighbor_list

from equipot.config.data import KeysConfig
from equipot.data.dataset import make_example
from equipot.data.reading.errors import DataError
from equipot.data.reading.labeled import parse_structure
from equipot.data.statistics import Statistics, compute_statistics, domain_of_both


def examples_of(frames, cutoff=3.5):
    return [
        make_example(parse_structure(atoms, KeysConfig(), f"#{n}"), cutoff)
        for n, atoms in enumerate(frames)
    ]


def sticks(*compositions: str, **energies: float) -> list[Atoms]:
    """Atoms in a row whose energy is the sum of those of the elements."""
    frames = []
    for formula in compositions:
        atoms = Atoms(formula)
        atoms.positions[:, 0] = np.arange(len(atoms)) * 1.5
        atoms.info["REF_energy"] = sum(energies[s] for s in atoms.symbols)
        frames.append(atoms)
    return frames


def test_least_squares_recovers_energies_of_the_elements():
    frames = sticks("H2O", "HO", "CH4", "CO2", H=-13.0, C=-1000.0, O=-2000.0)

    statistics = compute_statistics(examples_of(frames))

    assert statistics.reference_energies == pytest.approx({1: -13, 6: -1000, 8: -2000})
    assert statistics.reference_source == "least_squares (rank 3 of 3)"
    assert statistics.energy_shift == pytest.approx(0, abs=1e-9)
    assert statistics.warnings == (
        "neither forces nor energies vary: the energy scale is 1 by default",
    ) or statistics.energy_scale == pytest.approx(0, abs=1e-9)


def test_a_fit_without_full_rank_says_so():
    frames = sticks("H2O", "H4O2", H=-13.0, O=-2000.0)

    statistics = compute_statistics(examples_of(frames))

    energies = statistics.reference_energies
    assert statistics.reference_rank == 1
    assert statistics.reference_source == "least_squares (rank 1 of 2)"
    assert "determine 1 of 2 reference energies" in statistics.warnings[0]
    assert 2 * energies[1] + energies[8] == pytest.approx(-2026)


def test_isolated_atoms_come_before_a_fit():
    examples = examples_of(sticks("H2O", H=-14.0, O=-2001.0))

    statistics = compute_statistics(examples, isolated={1: -13.0, 8: -2000.0})

    assert statistics.reference_energies == {1: -13.0, 8: -2000.0}
    assert statistics.reference_source == "isolated_atoms"
    assert statistics.energy_shift == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("choice", "isolated", "message"),
    [
        ("auto", {1: -13.0}, "IsolatedAtom rows have no reference energy for O"),
        ("isolated_atoms", {}, "no reference energy for H, O"),
        ({"H": -13.0}, {}, "of the config have no reference energy for O"),
        ({"H": 1, "Oh": 2}, {}, "'Oh' is not an element"),
    ],
)
def test_an_element_without_reference_is_named(choice, isolated, message):
    examples = examples_of(sticks("H2O", H=-14.0, O=-2001.0))

    with pytest.raises(DataError, match=message):
        compute_statistics(examples, reference_energies=choice, isolated=isolated)


def test_given_energies_and_none_are_taken_as_they_are():
    examples = examples_of(sticks("H2O", H=-14.0, O=-2001.0))

    given = compute_statistics(examples, reference_energies={"H": -1, "O": -2})
    none = compute_statistics(examples, reference_energies="none")

    assert given.reference_energies == {1: -1.0, 8: -2.0}
    assert none.reference_energies == {1: 0.0, 8: 0.0}
    assert none.energy_shift == pytest.approx((2 * -14 - 2001) / 3)


def test_numbers_agree_with_a_second_neighbor_list(metals):
    statistics = compute_statistics(examples_of(metals[:6], 4.0))

    edges, atoms, shortest = 0, 0, np.inf
    for frame in metals[:6]:
        i, j, d = neighbor_list("ijd", frame, 4.0)
        copper = (frame.numbers[i] == 29) & (frame.numbers[j] == 29)
        edges, atoms = edges + len(i), atoms + len(frame)
        shortest = min(shortest, d[copper].min())
    forces = np.concatenate([f.arrays["REF_forces"] for f in metals[:6]])
    assert statistics.average_num_neighbors == pytest.approx(edges / atoms)
    assert statistics.minimum_distances["Cu-Cu"] == pytest.approx(shortest)
    assert statistics.energy_scale == pytest.approx(np.sqrt((forces**2).mean()))
    assert statistics.elements == (29, 47)
    assert statistics.element_counts == {"Cu": 84, "Ag": 12}
    assert statistics.label_counts == {"energy": 6, "forces": 6, "stress": 6}


def test_ranges_are_those_of_the_set(metals):
    frames = metals[:6]

    statistics = compute_statistics(examples_of(frames, 4.0))

    counts = {29: [], 47: []}
    for frame in frames:
        around = np.bincount(neighbor_list("i", frame, 4.0), minlength=len(frame))
        for z, count in zip(frame.numbers.tolist(), around.tolist(), strict=True):
            counts[z].append(count)
    density = [len(frame) / frame.get_volume() for frame in frames]
    forces = np.concatenate([f.arrays["REF_forces"] for f in frames])
    reference = statistics.reference_energies
    energies = [
        (f.info["REF_energy"] - sum(reference[z] for z in f.numbers.tolist())) / len(f)
        for f in frames
    ]
    assert statistics.neighbor_ranges == {
        "Cu": (min(counts[29]), max(counts[29])),
        "Ag": (min(counts[47]), max(counts[47])),
    }
    assert statistics.density_range == pytest.approx((min(density), max(density)))
    assert statistics.energy_range == pytest.approx((min(energies), max(energies)))
    assert statistics.largest_force == pytest.approx(
        np.linalg.norm(forces, axis=1).max()
    )


def test_ranges_of_what_is_not_there_are_unknown():
    frames = sticks("H2O", "HO", H=-13.0, O=-2000.0)

    statistics = compute_statistics(examples_of(frames))

    assert statistics.density_range is None
    assert statistics.largest_force is None
    assert statistics.neighbor_ranges == {"H": (1, 2), "O": (1, 2)}


def test_ranges_of_two_sets_cover_both(metals):
    whole = compute_statistics(examples_of(metals))
    halves = [compute_statistics(examples_of(metals[n::2])) for n in range(2)]

    both = domain_of_both(*halves, whole.elements)

    assert both.minimum_distances == whole.minimum_distances
    assert both.neighbor_ranges == whole.neighbor_ranges
    assert both.density_range == whole.density_range
    assert both.largest_force == whole.largest_force
    assert both.num_structures == halves[0].num_structures
    copper = domain_of_both(*halves, (29,))
    assert set(copper.minimum_distances) == {"Cu-Cu"}
    assert set(copper.neighbor_ranges) == {"Cu"}


def test_without_forces_the_scale_is_the_spread_of_energies_per_atom():
    frames = sticks("H2", "H2", H=-13.0)
    frames[0].info["REF_energy"] += 0.4

    statistics = compute_statistics(examples_of(frames))

    assert statistics.energy_scale == pytest.approx(0.1)


def test_statistics_survive_json(metals):
    statistics = compute_statistics(examples_of(metals[:3]))

    again = Statistics.from_dict(json.loads(json.dumps(asdict(statistics))))

    assert again == statistics


def test_a_fit_without_energies_is_refused():
    bare = examples_of([Atoms("HO", [[0, 0, 0], [0, 0, 1]])])

    with pytest.raises(DataError, match=r"need energies, .*\"none\" or a dictionary"):
        compute_statistics(bare, reference_energies="least_squares")


def test_an_empty_set_is_refused():
    with pytest.raises(DataError, match="no training structure"):
        compute_statistics([])


def test_a_set_without_energies_has_references_of_zero():
    atoms = sticks("H2O", H=0, O=0)[0]
    del atoms.info["REF_energy"]
    atoms.arrays["REF_forces"] = np.full((3, 3), 2.0)

    statistics = compute_statistics(examples_of([atoms]))

    assert statistics.reference_source == "none"
    assert statistics.energy_scale == pytest.approx(2.0)
    assert torch.tensor(statistics.energy_shift).isfinite()


def test_slabs_in_vacuum_have_no_density():
    crystal, slab = bulk("Si"), diamond100("Si", (1, 1, 5), a=5.43, vacuum=4.0)
    slab.pbc = True
    for atoms in (crystal, slab):
        atoms.info["REF_energy"] = -1.0 * len(atoms)

    statistics = compute_statistics(examples_of([crystal, slab]))

    density = 2 / crystal.get_volume()
    assert statistics.density_range == pytest.approx((density, density))
    assert compute_statistics(examples_of([slab])).density_range is None
