"""What the calculator does where a potential is used beyond its training set."""

import warnings

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from equipot.calculators import EquipotCalculator, ExtrapolationError
from equipot.checkpoint.file import load_domain, save_potential
from equipot.config.model import NequIPConfig
from equipot.domain import Domain, FeatureDistribution
from equipot.models import build_potential
from equipot.neighbors import build_graph
from tests.potentials import random_potential, statistics_of


@pytest.fixture(scope="module")
def small():
    return random_potential(lmax=1, num_layers=2)


@pytest.fixture(scope="module")
def other():
    return random_potential(lmax=1, num_layers=1)


def features_of(potential, atoms):
    graph = build_graph(atoms, potential.cutoff)
    return potential(graph, {"energy", "features"}).features.numpy()


@pytest.fixture(scope="module")
def cloud(small):
    """Features of ethanol that is shaken a little."""
    frames = []
    for seed in range(20):
        atoms = molecule("CH3CH2OH")
        atoms.rattle(0.02, seed=seed)
        frames.append(atoms)
    return FeatureDistribution.fit(
        np.concatenate([a.numbers for a in frames]),
        np.concatenate([features_of(small, a) for a in frames]),
    )


def test_features_are_watched_without_being_asked_for(small, cloud):
    atoms = molecule("CH3CH2OH")
    atoms.calc = EquipotCalculator(small, domain=Domain(features=cloud))

    usual = atoms.get_potential_energy()
    atoms.rattle(0.3, seed=1)

    assert np.isfinite(usual)
    with pytest.raises(ExtrapolationError, match=r"atom \d \([CHO]\) has an extrapol"):
        atoms.get_potential_energy()


def test_an_error_has_all_extrapolation_events_and_leaves_no_results(small):
    domain = Domain(largest_force=1e-6, energy=(1e3, 1e3))
    atoms = molecule("CH3CH2OH")
    atoms.calc = EquipotCalculator(small, domain=domain, always=("forces",))

    with pytest.raises(ExtrapolationError, match=r"(?s)energy is .*force on") as e:
        atoms.get_potential_energy()

    assert {x.kind for x in e.value.extrapolation_events} == {"energy", "force"}
    assert atoms.calc.extrapolation_events == e.value.extrapolation_events
    assert not atoms.calc.results


def test_recording_is_silent_and_starts_anew_with_each_structure(small):
    atoms = molecule("CH3CH2OH")
    calculator = EquipotCalculator(
        small,
        domain=Domain(minimum_distances={"C-H": 1.09}, neighbors={"C": (4, 7)}),
        on_extrapolation="record",
    )
    atoms.calc = calculator

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()

    kinds = [event.kind for event in calculator.extrapolation_events]
    assert kinds == ["pair"]
    Atoms("H", calculator=calculator).get_potential_energy()
    assert calculator.extrapolation_events == ()


def test_warnings_come_once_for_each_kind(small):
    atoms = molecule("CH3CH2OH")
    atoms.calc = EquipotCalculator(
        small,
        domain=Domain(largest_force=1e-6, neighbors={"O": (20, 30), "H": (1, 2)}),
        on_extrapolation="warn",
        always=("forces",),
    )

    with pytest.warns(UserWarning, match="extrapolates") as found:
        atoms.get_forces()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.positions += 0.1
        atoms.get_forces()

    assert len(found) == 2
    assert len(atoms.calc.extrapolation_events) == 2


def test_a_domain_of_a_file_is_that_of_its_statistics_and_features(tmp_path):
    config = NequIPConfig(
        cutoff=4.0,
        lmax=1,
        channels=4,
        num_layers=1,
        radial_hidden=(8,),
        backend="clebsch_gordan",
    )
    statistics = statistics_of((1, 8), 4.0)
    statistics.neighbor_ranges["O"] = (2, 3)
    potential = build_potential(config, statistics).eval()
    water = molecule("H2O")
    cloud = FeatureDistribution.fit(water.numbers, features_of(potential, water))
    path = tmp_path / "model.safetensors"

    save_potential(path, potential, config, statistics, features=cloud)
    found = load_domain(path)

    assert found.neighbors == {"O": (2, 3)}
    np.testing.assert_array_equal(found.features.whitening, cloud.whitening)
    atoms = Atoms("OO", [[0, 0, 0], [0, 0, 1.5]])
    atoms.calc = EquipotCalculator(path, device="cpu", on_extrapolation="record")
    atoms.get_potential_energy()
    kinds = {event.kind for event in atoms.calc.extrapolation_events}
    assert kinds == {"pair", "features"}


def test_a_committee_gives_its_spread_through_the_same_calculator(small, other):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=1)
    atoms.calc = EquipotCalculator([small, other])
    members = [EquipotCalculator(p) for p in (small, other)]

    forces = atoms.get_forces()

    alone = np.array([m.get_forces(atoms) for m in members])
    energies = [m.get_potential_energy(atoms) for m in members]
    np.testing.assert_allclose(forces, alone.mean(axis=0), atol=1e-12)
    results = atoms.calc.results
    assert results["energy"] == pytest.approx(np.mean(energies))
    assert results["energy_spread"] == pytest.approx(np.std(energies, ddof=1))
    expected = np.sqrt((alone.std(axis=0, ddof=1) ** 2).sum(axis=1))
    np.testing.assert_allclose(results["forces_spread"], expected)
    assert atoms.calc.get_hessian(atoms).shape == (9, 3, 9, 3)


def test_a_committee_that_differs_too_much_extrapolates(small, other):
    atoms = molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=1)
    calm = EquipotCalculator([small, other], max_spread=1e6)
    strict = EquipotCalculator([small, other], max_spread=1e-6)

    calm.get_forces(atoms)

    with pytest.raises(ExtrapolationError, match=r"differ by .* max_spread is 1e-06"):
        strict.get_forces(atoms)


def test_every_member_of_a_committee_watches_its_own_domain(small, other):
    first, second = Domain(neighbors={"H": (1, 40)}), Domain(neighbors={"H": (20, 40)})
    atoms = molecule("CH3CH2OH")
    calculator = EquipotCalculator([small, other], on_extrapolation="record")
    calculator._guard._domains = [first, second]

    calculator.get_potential_energy(atoms)

    assert [e.kind for e in calculator.extrapolation_events] == ["neighbors"]
