from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, diamond100

from equipot.domain import Domain, FeatureCloud
from equipot.neighbors import neighbor_list
from tests.potentials import statistics_of

CUTOFF = 4.0


def pairs_of(atoms, cutoff=CUTOFF):
    return neighbor_list(atoms.positions, atoms.cell.array, atoms.pbc, cutoff)


def of_structure(domain, atoms, cutoff=CUTOFF):
    return domain.events_of_structure(atoms, pairs_of(atoms, cutoff))


def of_prediction(domain, atoms, energy=0.0, forces=None, features=None):
    return domain.events_of_prediction(
        atoms, pairs_of(atoms), energy=energy, forces=forces, features=features
    )


@pytest.fixture
def silicon():
    """Eight atoms with 16 neighbors each within 4 Å."""
    return bulk("Si", cubic=True)


def test_what_is_not_known_is_not_checked(silicon):
    domain = Domain()

    assert of_structure(domain, silicon) == []
    forces, features = np.full((8, 3), 1e9), np.full((8, 4), 1e9)
    assert of_prediction(domain, silicon, 1e9, forces, features) == []


def test_nothing_is_checked_if_the_training_set_is_not_known(silicon):
    statistics = replace(statistics_of((14,), CUTOFF), num_structures=0)
    domain = Domain.of(statistics)

    assert not statistics.has_training_set
    assert not domain.is_known
    assert Domain.of(statistics_of((14,), CUTOFF)).is_known
    assert of_structure(domain, silicon) == []
    forces, features = np.full((8, 3), 1e9), np.full((8, 4), 1e9)
    assert of_prediction(domain, silicon, 1e9, forces, features) == []


@pytest.mark.parametrize(("distance", "outside"), [(0.951, False), (0.949, True)])
def test_a_distance_may_be_five_percent_shorter(distance, outside):
    domain = Domain(minimum_distances={"H-O": 1.0})
    atoms = Atoms("OH", [[0, 0, 0], [distance, 0, 0]])

    found = of_structure(domain, atoms)

    assert [e.kind for e in found] == ["distance"] * outside
    if outside:
        assert found[0].atoms == (0, 1)
        assert found[0].subject == "H-O"
        assert found[0].value == pytest.approx(0.949)
        assert found[0].limit == pytest.approx(0.95)
        assert "atoms 0 (O) and 1 (H) are 0.9490 Å apart" in found[0].message
        assert "1.0000 Å (5% less is allowed)" in found[0].message


def test_a_pair_that_was_never_near_may_not_come_within_the_cutoff():
    domain = Domain(cutoff=3.0, minimum_distances={"H-H": 0.5})
    atoms = Atoms("OHH", [[0, 0, 0], [3.5, 0, 0], [4.5, 0, 0]])

    assert of_structure(domain, atoms) == []
    atoms.positions[0, 0] = 0.6
    (found,) = of_structure(domain, atoms)
    assert found.kind == "pair"
    assert found.atoms == (0, 1)
    assert "no pair H-O within the cutoff" in found.message


def test_the_pair_furthest_below_its_limit_is_named():
    domain = Domain(minimum_distances={"H-H": 1.0})
    atoms = Atoms("HHHH", [[0, 0, 0], [0.9, 0, 0], [0, 9, 0], [0.5, 9, 0]])

    (found,) = of_structure(domain, atoms)

    assert found.atoms == (2, 3)


@pytest.mark.parametrize(
    ("extremes", "outside"),
    [((16, 16), False), ((19, 30), False), ((21, 30), True), ((4, 12), True)],
)
def test_numbers_of_neighbors_have_a_margin(silicon, extremes, outside):
    """There are 16, and a fifth of the extremes is allowed beyond them."""
    domain = Domain(neighbors={"Si": extremes})

    found = of_structure(domain, silicon)

    assert [e.kind for e in found] == ["neighbors"] * outside
    for event in found:
        assert "(Si) has 16 neighbors within the cutoff" in event.message
        assert "nearest neighbors: atom" in event.message
        assert event.message.count("at 2.351 Å") == 3


def test_an_atom_that_lost_all_neighbors_is_outside_even_where_few_were_usual():
    domain = Domain(neighbors={"H": (1, 2)})
    pair = Atoms("HH", [[0, 0, 0], [0, 0, 0.8]])
    lost = pair + Atoms("H", [[9, 0, 0]])

    assert of_structure(domain, pair) == []
    (found,) = of_structure(domain, lost)
    assert found.atoms == (2,)
    assert "it has no neighbors" in found.message


def test_free_atoms_are_never_outside():
    """Their energy is exact, whatever was trained on."""
    domain = Domain(
        neighbors={"O": (2, 3)}, energy=(-3.0, -2.0), reference_energies={8: -400.0}
    )
    atoms = Atoms("OO", [[0, 0, 0], [9, 0, 0]])

    assert of_structure(domain, atoms) == []
    assert of_prediction(domain, atoms, energy=-800.0) == []


def test_neighbors_count_within_the_cutoff_of_the_domain(silicon):
    domain = Domain(cutoff=3.0, neighbors={"Si": (4, 4)})

    assert of_structure(domain, silicon, cutoff=6.0) == []
    assert domain.events_of_structure(silicon, pairs_of(silicon, 6.0)) == []


@pytest.mark.parametrize(
    ("stretch", "outside"), [(1.0, False), (0.98, False), (1.08, True), (0.9, True)]
)
def test_density_has_a_margin_of_a_tenth(silicon, stretch, outside):
    density = 8 / silicon.get_volume()
    domain = Domain(density=(density, density))
    silicon.set_cell(silicon.cell * stretch, scale_atoms=True)

    found = of_structure(domain, silicon)

    assert [e.kind for e in found] == ["density"] * outside
    assert all("atoms/Å^3" in e.message for e in found)


@pytest.mark.parametrize("vacuum", [2.1, 4.0, 20.0])
@pytest.mark.parametrize("pbc", [(1, 1, 1), (1, 1, 0)])
def test_vacuum_beside_a_slab_is_no_density(silicon, vacuum, pbc):
    slab = diamond100("Si", (1, 1, 9), a=5.43, vacuum=vacuum)
    slab.pbc = pbc
    density = 8 / silicon.get_volume()

    assert of_structure(Domain(density=(density, density)), slab) == []


def test_a_gap_that_pairs_cross_counts_for_the_density(silicon):
    slab = diamond100("Si", (1, 1, 9), a=5.43, vacuum=1.9)
    slab.pbc = True
    density = 8 / silicon.get_volume()

    (found,) = of_structure(Domain(density=(density, density)), slab)

    assert found.kind == "density"


def test_density_is_only_that_of_what_repeats(silicon):
    domain = Domain(density=(1.0, 1.0))
    silicon.pbc = [True, True, False]

    assert of_structure(domain, silicon) == []


@pytest.mark.parametrize(
    ("per_atom", "outside"),
    [(-4.9, False), (-5.9, False), (-6.1, True), (-2.9, True), (-3.1, False)],
)
def test_energy_may_be_beyond_by_its_own_range(silicon, per_atom, outside):
    domain = Domain(energy=(-5.0, -4.0), reference_energies={14: -100.0})

    found = of_prediction(domain, silicon, energy=8 * (per_atom - 100.0))

    assert [e.kind for e in found] == ["energy"] * outside


def test_a_force_may_be_twice_the_largest(silicon):
    domain = Domain(largest_force=3.0)
    forces = np.zeros((8, 3))
    forces[5, 1] = -5.9

    assert of_prediction(domain, silicon, forces=forces) == []
    forces[5, 1] = -6.1
    (found,) = of_prediction(domain, silicon, forces=forces)
    assert (found.kind, found.atoms) == ("force", (5,))
    assert "6.1 eV/Å, the largest of the training set 3 (6 is allowed)" in found.message


def test_unusual_features_are_named_with_their_atom(silicon):
    rng = np.random.default_rng(0)
    known = rng.normal(size=(50, 3))
    domain = Domain(features=FeatureCloud.fit(np.full(50, 14), known))
    features = np.zeros((8, 3))

    assert of_prediction(domain, silicon, features=features) == []
    features[2] = 10.0
    (found,) = of_prediction(domain, silicon, features=features)
    assert (found.kind, found.atoms, found.subject) == ("features", (2,), "Si")
    assert "atom 2 (Si) has an extrapolation score of" in found.message


def test_domain_of_statistics_holds_all_that_they_know():
    statistics = statistics_of((1, 8), 4.0)

    domain = Domain.of(statistics)

    assert domain.cutoff == 4.0
    assert domain.reference_energies == statistics.reference_energies
    assert domain.neighbors is None
    assert np.isinf(domain.closest(1, 8))


@pytest.mark.parametrize(
    ("unknown", "message"),
    [
        ({"minimum_distances": {"HO": 1.0}}, "a pair like 'H-O', got 'HO'"),
        ({"neighbors": {"Xy": (1, 2)}}, "the symbol of an element, got 'Xy'"),
    ],
)
def test_wrong_names_are_refused(unknown, message):
    with pytest.raises(ValueError, match=message):
        Domain(**unknown)
