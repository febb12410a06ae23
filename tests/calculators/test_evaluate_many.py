"""Many structures in few evaluations: results, checks and errors of single calls."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import CalculationFailed

from equipot.calculators import EquipotCalculator, ExtrapolationError
from equipot.domain import Domain
from equipot.ops import unavailable
from tests.potentials import random_potential


@pytest.fixture(scope="module")
def small():
    return random_potential(lmax=1, num_layers=2)


@pytest.fixture
def mixed(ethanol, silica):
    """Molecules, crystals, a slab, single atoms and nothing, in no order."""
    slab = fcc111("Si", (1, 1, 2), a=3.9, vacuum=None)
    slab.pbc = (True, True, False)
    far = ethanol.copy()
    far.positions += (1e3, -2e3, 5.0)
    return [silica, ethanol, Atoms("H"), Atoms(), slab, far, bulk("Si"), Atoms("O")]


def test_results_are_those_of_single_calls_in_order(small, mixed):
    calculator = EquipotCalculator(small)

    found = calculator.evaluate(mixed, ("energies", "stress", "stresses"))

    for atoms, result in zip(mixed, found, strict=True):
        periodic = ("stress", "stresses") if atoms.pbc.all() else ("forces",)
        calculator.calculate(atoms, periodic)
        for name, expected in calculator.results.items():
            np.testing.assert_allclose(
                result.results[name], expected, rtol=1e-12, atol=1e-10, err_msg=name
            )
        assert (result.stress is not None) == atoms.pbc.all()
        assert result.forces.shape == (len(atoms), 3)


@pytest.mark.skipif(
    unavailable(torch.device("cpu")) is not None, reason="compiled ops are not built"
)
def test_frozen_potentials_evaluate_batches(small, mixed):
    calculator = EquipotCalculator(small, frozen=True)

    found = calculator.evaluate(mixed)

    assert calculator.evaluation.not_frozen is None
    for atoms, result in zip(mixed, found, strict=True):
        calculator.calculate(atoms, ("forces",))
        np.testing.assert_allclose(
            result.forces, calculator.results["forces"], rtol=0, atol=1e-10
        )


def test_batches_do_not_exceed_the_limit_of_edges(small, mixed):
    calculator = EquipotCalculator(small)
    sizes = []
    with small.register_forward_pre_hook(lambda _, a: sizes.append(a[0].num_edges)):
        found = calculator.evaluate(mixed, max_edges=150)
        one = calculator.evaluate(mixed, max_edges=10**6)

    *parts, whole = sizes
    assert sum(parts) == whole > 150
    assert max(parts) <= max(150, *(len(calculator._edges(a).shift) for a in mixed))
    energies = [[result.energy for result in results] for results in (found, one)]
    np.testing.assert_allclose(*energies, rtol=1e-12)
    with pytest.raises(ValueError, match="max_edges must be at least 1"):
        calculator.evaluate(mixed, max_edges=0)


def test_nothing_and_the_last_single_calculation(small, ethanol):
    calculator = EquipotCalculator(small)
    ethanol.calc = calculator
    energy = ethanol.get_potential_energy()

    assert calculator.evaluate([]) == []
    calculator.evaluate([Atoms("H")])

    assert calculator.results["energy"] == energy


def test_the_committee_has_spreads(ethanol, silica):
    members = [random_potential(lmax=1, num_layers=n) for n in (1, 2)]
    calculator = EquipotCalculator(members, max_spread=1e-9, on_extrapolation="record")

    found = calculator.evaluate([silica, ethanol])

    for atoms, result in zip((silica, ethanol), found, strict=True):
        calculator.calculate(atoms, ("forces",))
        for name in ("energy_spread", "forces_spread"):
            np.testing.assert_allclose(
                result.results[name], calculator.results[name], rtol=1e-9
            )
        assert [event.kind for event in result.extrapolation_events] == ["spread"]


def test_extrapolation_is_recorded_for_its_structure_or_stops(small, ethanol):
    squeezed = ethanol.copy()
    squeezed.positions[1] = squeezed.positions[0] + (0.3, 0, 0)
    domain = Domain(
        minimum_distances={"C-C": 1.2, "C-H": 0.1, "C-O": 0.1}
        | dict.fromkeys(("H-H", "H-O"), 0.1)
    )
    structures = [ethanol, squeezed, ethanol]

    found = EquipotCalculator(small, domain=domain, on_extrapolation="record").evaluate(
        structures
    )

    assert [len(result.extrapolation_events) for result in found] == [0, 1, 0]
    with pytest.raises(ExtrapolationError, match="structure 1: atoms 0"):
        EquipotCalculator(small, domain=domain).evaluate(structures)
    with pytest.raises(ExtrapolationError, match="structure 7: atoms 0"):
        EquipotCalculator(small, domain=domain).evaluate(structures, numbers=[5, 7, 9])


def _lost(atoms):
    atoms.positions[0] = np.nan


def _unknown(atoms):
    atoms.numbers[0] = 92


def _flat(atoms):
    atoms.pbc = (True, False, False)


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (_lost, "structure 2: the position of atom 0"),
        (_unknown, "structure 2: the potential supports the elements"),
        (_flat, "structure 2: direction 0 is periodic"),
    ],
)
def test_errors_name_the_structure(small, ethanol, break_it, message):
    broken = ethanol.copy()
    break_it(broken)
    calculator = EquipotCalculator(small)

    with pytest.raises(ValueError, match=message):
        calculator.evaluate([ethanol, Atoms("H"), broken, ethanol])


def test_results_that_are_not_finite_are_refused(ethanol):
    damaged = random_potential(lmax=1, num_layers=1)
    damaged.scale = float("nan")
    with pytest.raises(CalculationFailed, match=r"structure 0: .* not finite"):
        EquipotCalculator(damaged).evaluate([ethanol])
    with pytest.raises(ValueError, match="properties: unknown properties"):
        EquipotCalculator(damaged).evaluate([ethanol], ("charge",))


def test_neighbor_lists_are_cross_checked(small, ethanol, silica, monkeypatch):
    compared = []
    calculator = EquipotCalculator(small, check_neighbors=3)
    monkeypatch.setattr(
        type(calculator._self_check), "compare", lambda _, a, __: compared.append(a)
    )

    structures = [ethanol, silica, molecule("H2O"), silica, ethanol]
    calculator.evaluate(structures)

    assert [a is b for a, b in zip(compared, (ethanol, silica), strict=True)]
    assert compared[0] is structures[0]
    assert compared[1] is structures[3]
