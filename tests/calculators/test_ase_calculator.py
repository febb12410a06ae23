import threading
import warnings

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError
from ase.calculators.fd import (
    calculate_numerical_forces,
    calculate_numerical_stress,
)
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from ase.stress import voigt_6_to_full_3x3_stress
from scipy.spatial.transform import Rotation

from equipot.calculators import EquipotCalculator, ExtrapolationError
from equipot.checkpoint.file import save_potential
from equipot.config.model import NequIPConfig
from equipot.domain import Domain
from equipot.models import build_potential
from tests.potentials import random_potential, statistics_of


@pytest.fixture(scope="module")
def small():
    """Potential of ethanol and silica that is quick to evaluate."""
    return random_potential(lmax=1, num_layers=2)


class Evaluations:
    """Counts the evaluations of a potential, and what was asked of it."""

    def __init__(self, potential):
        self.outputs = []
        self._hook = potential.register_forward_pre_hook(
            lambda _, arguments: self.outputs.append(set(arguments[1]))
        )

    def remove(self):
        self._hook.remove()


@pytest.fixture
def evaluations(small):
    counter = Evaluations(small)
    yield counter.outputs
    counter.remove()


def test_forces_are_the_gradient_of_the_energy(small, ethanol):
    ethanol.calc = EquipotCalculator(small)

    forces = ethanol.get_forces()
    expected = calculate_numerical_forces(ethanol, eps=1e-4, iatoms=[0, 3])

    np.testing.assert_allclose(forces[[0, 3]], expected, rtol=0, atol=1e-6)


def test_stress_is_the_derivative_by_strain_in_voigt_order(small, silica):
    silica.calc = EquipotCalculator(small)

    stress = silica.get_stress()
    expected = calculate_numerical_stress(silica, eps=1e-5)

    np.testing.assert_allclose(stress, expected, rtol=0, atol=1e-8)
    assert np.abs(stress).min() > 1e-6


def test_energies_of_atoms_sum_to_the_energy(small, ethanol):
    ethanol.calc = EquipotCalculator(small)

    energies = ethanol.get_potential_energies()

    np.testing.assert_allclose(energies.sum(), ethanol.get_potential_energy())
    assert ethanol.get_potential_energy() == ethanol.get_potential_energy(
        force_consistent=True
    )


def test_computes_only_what_is_asked_for_if_nothing_is_always(
    small, ethanol, evaluations
):
    ethanol.calc = EquipotCalculator(small, always=())

    ethanol.get_potential_energy()
    ethanol.get_forces()

    assert evaluations == [{"energy"}, {"energy", "forces"}]


def test_repeated_questions_are_answered_from_the_cache(small, silica, evaluations):
    silica.calc = EquipotCalculator(small, always=())

    for _ in range(2):
        silica.get_stress()
        silica.get_forces()
        silica.get_potential_energy()

    assert len(evaluations) == 1


def test_one_evaluation_answers_energy_forces_and_stress(
    small, silica, ethanol, evaluations
):
    calculator = EquipotCalculator(small)

    for atoms in (silica, ethanol):
        atoms.calc = calculator
        atoms.get_potential_energy()
        atoms.get_forces()
        if atoms.pbc.any():
            atoms.get_stress()
        atoms.get_potential_energies()

    assert evaluations == [{"energy", "forces", "stress"}, {"energy", "forces"}]


def test_cached_results_are_copies(small, ethanol):
    ethanol.calc = EquipotCalculator(small)
    first = ethanol.get_forces()

    ethanol.get_forces()[:] = 0.0

    np.testing.assert_array_equal(ethanol.get_forces(), first)


def _move(atoms):
    atoms.positions[0, 0] += 1e-15


def _strain(atoms):
    atoms.set_cell(atoms.cell * 1.001)


def _transmute(atoms):
    atoms.numbers[0] = 6


def _open_a_direction(atoms):
    atoms.pbc = [True, True, False]


@pytest.mark.parametrize("change", [_move, _strain, _transmute, _open_a_direction])
def test_any_change_of_the_structure_empties_the_cache(
    small, silica, evaluations, change
):
    silica.calc = EquipotCalculator(small)

    silica.get_potential_energy()
    change(silica)
    silica.get_potential_energy()

    assert len(evaluations) == 2


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        np.array([np.nan, 1.0]),
        torch.ones(3),
        {"nested": [torch.ones(2), float("nan")]},
        threading.Lock(),
        (n for n in range(3)),
    ],
    ids=["nan", "array", "tensor", "nested", "lock", "generator"],
)
def test_nothing_in_info_disturbs_the_cache(small, silica, evaluations, value):
    silica.info["anything"] = value
    silica.calc = EquipotCalculator(small)

    for _ in range(2):
        silica.get_potential_energy()
        silica.info["step"] = 1

    assert len(evaluations) == 1
    assert silica.info["anything"] is value


def _by_area(atoms):
    """In-plane stress by differences of the energy, in eV/Å^2."""
    area = np.linalg.norm(np.cross(*atoms.cell.array[atoms.pbc]))
    volume = atoms.get_volume()
    return calculate_numerical_stress(atoms, eps=1e-5) * volume / area


@pytest.fixture
def slab():
    atoms = fcc111("Si", (1, 1, 3), a=4.4, vacuum=4.0)
    atoms.numbers[0] = 8
    atoms.rattle(0.1, seed=5)
    atoms.pbc = [True, True, False]
    return atoms


def test_stress_of_a_slab_is_in_its_plane_and_per_volume(small, slab):
    slab.calc = EquipotCalculator(small)

    stress = slab.get_stress()

    expected = calculate_numerical_stress(slab, eps=1e-5)[[0, 1, 5]]
    np.testing.assert_allclose(stress[[0, 1, 5]], expected, rtol=0, atol=1e-8)
    assert np.abs(stress[[0, 1, 5]]).min() > 1e-6
    assert not stress[2:5].any()


def test_stress_per_area_does_not_depend_on_the_cell_normal_to_a_slab(small, slab):
    calculator = EquipotCalculator(small)
    slab.calc = calculator
    expected = _by_area(slab)

    found = calculator.get_stress_per_area(slab)

    np.testing.assert_allclose(found[[0, 1, 5]], expected[[0, 1, 5]], rtol=0, atol=1e-7)
    for third in ([0, 0, 40], [0, 0, -9], [3, 1, 20], [0, 0, 0], slab.cell.array[0]):
        slab.cell[2] = third
        again = calculator.get_stress_per_area(slab)
        np.testing.assert_allclose(again, found, rtol=1e-10, atol=1e-14)


def test_stress_of_a_turned_slab_follows(small, slab):
    calculator = EquipotCalculator(small)
    before = voigt_6_to_full_3x3_stress(calculator.get_stress_per_area(slab))
    turn = Rotation.random(random_state=1).as_matrix()
    slab.set_cell(slab.cell.array @ turn.T)
    slab.positions = slab.positions @ turn.T

    after = voigt_6_to_full_3x3_stress(calculator.get_stress_per_area(slab))

    np.testing.assert_allclose(after, turn @ before @ turn.T, rtol=0, atol=1e-12)


def test_tension_of_a_wire_is_along_it(small):
    wire = Atoms("SiO", [[0, 0, 0], [0.3, 0.2, 1.7]], cell=[9, 9, 3.3])
    wire.pbc = [False, False, True]
    wire.calc = calculator = EquipotCalculator(small)

    found = calculator.get_stress_per_length(wire)

    stress = calculate_numerical_stress(wire, eps=1e-5) * wire.get_volume() / 3.3
    np.testing.assert_allclose(found[2], stress[2], rtol=0, atol=1e-6)
    assert not found[[0, 1, 3, 4, 5]].any()
    wire.set_cell([0, 0, 3.3])
    np.testing.assert_allclose(
        calculator.get_stress_per_length(wire), found, rtol=1e-12, atol=0
    )


def test_stress_per_area_or_length_of_other_structures_is_refused(
    small, silica, ethanol, slab
):
    calculator = EquipotCalculator(small)

    for atoms in (silica, ethanol):
        with pytest.raises(ValueError, match="needs 2 periodic directions"):
            calculator.get_stress_per_area(atoms)
    with pytest.raises(ValueError, match="needs 1 periodic direction, this structure"):
        calculator.get_stress_per_length(slab)
    for third in ([0, 0, 0], slab.cell.array[0]):
        slab.cell[2] = third
        with pytest.raises(PropertyNotImplementedError, match="a volume of 0 Å"):
            calculator.get_property("stress", slab)


def test_a_slab_relaxes_in_its_plane(small, slab):
    slab.calc = EquipotCalculator(small)
    before = slab.cell.array.copy()

    with FIRE(FrechetCellFilter(slab, mask=[1, 1, 0, 0, 0, 1]), logfile=None) as steps:
        steps.run(fmax=0.02, steps=200)

    assert np.abs(slab.get_stress()).max() * slab.get_volume() < 0.05
    assert np.abs(slab.cell.array - before).max() > 0.01
    np.testing.assert_array_equal(slab.cell.array[2], before[2])


@pytest.mark.parametrize("name", ["silica", "slab"])
def test_stresses_of_atoms_sum_to_the_stress(small, request, name):
    atoms = request.getfixturevalue(name)
    atoms.calc = EquipotCalculator(small)

    stresses = atoms.get_stresses()

    assert stresses.shape == (len(atoms), 6)
    np.testing.assert_allclose(
        stresses.sum(axis=0), atoms.get_stress(), rtol=0, atol=1e-13
    )
    doubled = atoms.repeat([2, 1, 1])
    doubled.calc = atoms.calc
    np.testing.assert_allclose(
        2 * doubled.get_stresses()[: len(atoms)], stresses, rtol=0, atol=1e-12
    )


def test_neighbor_list_with_a_skin_changes_no_bit(small, silica):
    rng = np.random.default_rng(0)
    fresh, kept = EquipotCalculator(small), EquipotCalculator(small, skin=1.0)
    late = EquipotCalculator(small, skin=1.0)

    for step in range(8):
        silica.positions += rng.normal(0, 0.05, silica.positions.shape)
        silica.set_cell(silica.cell * 1.002)
        expected = fresh.get_property("stress", silica)
        np.testing.assert_array_equal(kept.get_property("stress", silica), expected)
        if step > 3:
            found = late.get_property("stress", silica)
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(
            kept.get_property("forces", silica), fresh.get_property("forces", silica)
        )

    assert kept._edges._verlet.rebuilds < 8


def test_stress_of_a_molecule_is_refused_with_the_reason(small, ethanol):
    ethanol.calc = EquipotCalculator(small)

    with pytest.raises(PropertyNotImplementedError, match="needs a periodic direction"):
        ethanol.get_stress()


def test_unknown_element_is_refused_and_known_ones_are_named(small):
    atoms = molecule("NH3")
    atoms.calc = EquipotCalculator(small)

    with pytest.raises(ValueError, match=r"H, C, O, Si, the structure contains N"):
        atoms.get_potential_energy()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_positions_that_are_not_finite_are_refused(small, ethanol, value):
    ethanol.positions[4, 1] = value
    ethanol.calc = EquipotCalculator(small)

    with pytest.raises(ValueError, match="atom 4"):
        ethanol.get_forces()


def test_results_that_are_not_finite_are_refused(ethanol):
    broken = random_potential(lmax=0, num_layers=1)
    with torch.no_grad():
        next(iter(broken.parameters())).fill_(torch.nan)
    ethanol.calc = EquipotCalculator(broken)

    with pytest.raises(CalculationFailed, match=r"energy.*not finite"):
        ethanol.get_potential_energy()


LIMITS = {"H-H": 1.0, "H-C": 0.9, "H-O": 0.8, "C-C": 1.3, "C-O": 1.2}


def _squeezed():
    """Ethanol whose atoms 2 (O) and 3 (H) are 0.5 Å apart."""
    atoms = molecule("CH3CH2OH")
    atoms.set_distance(2, 3, 0.5, fix=0)
    return atoms


def test_atoms_nearer_than_in_training_are_refused(small):
    atoms = _squeezed()
    atoms.calc = EquipotCalculator(small, domain=Domain(minimum_distances=LIMITS))

    expected = r"atoms 2 \(O\) and 3 \(H\) are 0\.5000 Å apart.*H-O.* 0\.8000 Å"
    with pytest.raises(ExtrapolationError, match=expected):
        atoms.get_forces()


def test_pairs_that_training_never_saw_are_refused(small):
    limits = {pair: limit for pair, limit in LIMITS.items() if pair != "C-O"}
    atoms = molecule("CH3CH2OH")
    atoms.calc = EquipotCalculator(small, domain=Domain(minimum_distances=limits))

    with pytest.raises(ExtrapolationError, match="no pair C-O within the cutoff"):
        atoms.get_forces()


def test_unknown_element_is_named_before_its_distances(small):
    atoms = molecule("NH3")
    atoms.calc = EquipotCalculator(small, domain=Domain(minimum_distances=LIMITS))

    with pytest.raises(ValueError, match="the structure contains N"):
        atoms.get_potential_energy()


def test_a_calculation_leaves_no_results_of_other_atoms(small, ethanol, silica):
    calculator = EquipotCalculator(small, always=())
    calculator.calculate(ethanol, ["forces"])

    calculator.calculate(silica, ["energy"])

    assert "forces" not in calculator.results
    silica.positions[0] = np.nan
    with pytest.raises(ValueError, match="atom 0"):
        calculator.calculate(silica, ["energy"])
    assert not calculator.results


def test_extrapolation_can_be_a_warning_given_once_for_each_pair(small):
    atoms = _squeezed()
    atoms.calc = EquipotCalculator(
        small, domain=Domain(minimum_distances=LIMITS), on_extrapolation="warn"
    )

    with pytest.warns(UserWarning, match="H-O"):
        atoms.get_forces()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.positions += 0.1
        atoms.get_forces()


def test_extrapolation_can_be_ignored(small):
    atoms = _squeezed()
    atoms.calc = EquipotCalculator(
        small, domain=Domain(minimum_distances=LIMITS), on_extrapolation="ignore"
    )

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forces = atoms.get_forces()

    assert np.isfinite(forces).all()


def test_structures_of_the_training_set_pass(small):
    atoms = molecule("CH3CH2OH")
    atoms.calc = EquipotCalculator(small, domain=Domain(minimum_distances=LIMITS))

    assert np.isfinite(atoms.get_forces()).all()


@pytest.fixture
def model_file(tmp_path):
    config = NequIPConfig(
        cutoff=4.0,
        lmax=1,
        channels=4,
        num_layers=1,
        radial_hidden=(8,),
        backend="clebsch_gordan",
    )
    statistics = statistics_of((14,), 4.0)
    statistics.minimum_distances["Si-Si"] = 2.2
    potential = build_potential(config, statistics)
    path = tmp_path / "model.safetensors"
    save_potential(path, potential, config, statistics)
    return path, potential.eval()


def test_model_on_disk_equals_the_one_in_memory(model_file):
    path, potential = model_file
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=0)
    from_disk = EquipotCalculator(path, device="cpu", frozen=False)
    in_memory = EquipotCalculator(potential)

    np.testing.assert_array_equal(
        from_disk.get_property("forces", atoms), in_memory.get_property("forces", atoms)
    )
    assert from_disk.fingerprint == in_memory.fingerprint


def test_model_on_disk_brings_its_domain(model_file):
    path, _ = model_file
    atoms = bulk("Si", a=4.7)
    atoms.calc = EquipotCalculator(path, device="cpu")

    with pytest.raises(ExtrapolationError, match=r"Si-Si.* 2\.2000 Å"):
        atoms.get_potential_energy()


def test_dtype_of_the_model_can_be_chosen(model_file):
    path, _ = model_file
    atoms = bulk("Si")
    atoms.rattle(0.05, seed=0)
    single = EquipotCalculator(path, device="cpu")
    double = EquipotCalculator(path, device="cpu", dtype="float64")

    difference = single.get_property("forces", atoms) - double.get_property(
        "forces", atoms
    )

    assert double.potential.dtype == torch.float64
    assert 0 < np.abs(difference).max() < 1e-4


def test_potential_in_memory_is_not_converted(small):
    with pytest.raises(ValueError, match="convert the potential"):
        EquipotCalculator(small, dtype="float32")


def test_potential_in_memory_is_left_as_it_was(small, ethanol):
    small.train()
    ethanol.calc = EquipotCalculator(small)

    ethanol.get_forces()

    assert small.training
    assert all(p.requires_grad and p.grad is None for p in small.parameters())
    small.eval()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"on_extrapolation": "stop"}, "'record' or 'ignore', got 'stop'"),
        ({"check_neighbors": 0}, "'auto', 'never' or a number of evaluations, got 0"),
        ({"max_spread": 0.1}, "needs a committee of two"),
        ({"always": ("dipole",)}, "unknown properties.*dipole"),
    ],
)
def test_wrong_arguments_are_named(small, argument, message):
    with pytest.raises(ValueError, match=message):
        EquipotCalculator(small, **argument)


def test_empty_structure_has_no_energy(small):
    atoms = molecule("H2")[:0]
    atoms.calc = EquipotCalculator(small)

    assert atoms.get_potential_energy() == 0
    assert atoms.get_forces().shape == (0, 3)
