"""What verification finds in backends that are right, and in each that is wrong."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from equipot.models.build import unsupported
from equipot.models.products import specs_of
from equipot.tensor_products import BACKENDS, UnsupportedSpecError, unavailable
from equipot.verify import (
    BackendMismatchError,
    check_backend,
    expect,
    verify_backend,
)
from tests.broken_backends import BROKEN, ERROR
from tests.potentials import ARCHITECTURES, random_potential

ALL = ("energy", "forces", "stress", "Hessian-vector")
DIFFERENCES = tuple((name, "float64", False) for name in ALL[1:])
FLOAT32 = tuple((name, "float32", True) for name in ALL)
FLOAT64 = tuple((name, "float64", True) for name in ALL)


def failures(verification):
    """Quantity, arithmetic, and whether the comparison was with the reference."""
    return {
        (check.quantity, check.dtype, check.name == "clebsch_gordan")
        for check in verification.failures
    }


@pytest.mark.parametrize("name", [n for n in BACKENDS if n != "clebsch_gordan"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_right_backends_pass(name, dtype, structures):
    if (reason := unavailable(name, torch.device("cpu"))) is not None:
        pytest.skip(f"{name}: {reason}")
    potential = random_potential(
        lmax=1, num_layers=2, dtype=dtype, weighting="per_degree"
    )

    found = verify_backend(expect(potential, structures), name)

    kinds = {(c.quantity, c.dtype, c.name == "clebsch_gordan") for c in found.checks}
    assert kinds == {*FLOAT64, *DIFFERENCES, *(FLOAT32 if dtype == "float32" else ())}
    assert found.passed
    assert failures(found) == set()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_right_backends_pass_for_every_architecture(architecture, silica):
    potential = random_potential(**{**ARCHITECTURES[architecture], "dtype": "float32"})
    expected = expect(potential, [silica], directions=1)
    able = [
        name
        for name in BACKENDS
        if name not in BROKEN
        and unsupported(name, specs_of(potential)) is None
        and unavailable(name, potential.device) is None
    ]

    found = [verify_backend(expected, name, differences=False) for name in able]

    assert {v.backend: v.failures for v in found} == dict.fromkeys(able, ())
    if not specs_of(potential):  # nothing to choose between
        assert able == ["clebsch_gordan"]
        return
    assert {c.dtype for v in found for c in v.checks} == {"float32", "float64"}
    assert len(able) >= 2


def test_reference_is_compared_with_itself_by_differences(small, structures):
    found = verify_backend(expect(small, structures), "clebsch_gordan")

    assert found.passed
    assert {c.quantity for c in found.checks} == {"forces", "stress", "Hessian-vector"}
    assert all(0 < c.difference.relative < 1e-6 for c in found.checks)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # Another potential: nothing agrees, but forces are those of its energy.
        ("wrong_coupling", {*FLOAT32, *FLOAT64}),
        # Not a potential: its energy is right and all else is not.
        ("wrong_gradient", {*FLOAT32[1:], *FLOAT64[1:], *DIFFERENCES}),
        # Energy, forces and stress are right.
        ("wrong_second_derivative", {FLOAT32[3], FLOAT64[3], DIFFERENCES[2]}),
        ("once_differentiable", {FLOAT32[3], FLOAT64[3], DIFFERENCES[2]}),
        ("wrong_in_float32", set(FLOAT32)),
        ("not_a_number", {*FLOAT32, *FLOAT64, *DIFFERENCES}),
    ],
)
def test_wrong_backends_are_caught_by_the_right_quantities(name, expected, structures):
    potential = random_potential(lmax=1, num_layers=2, dtype="float32")

    found = verify_backend(expect(potential, structures), name)

    assert not found.passed
    assert failures(found) == expected


@pytest.mark.parametrize("name", ["wrong_gradient", "wrong_second_derivative"])
def test_size_of_an_error_is_told(name, small, structures):
    found = verify_backend(expect(small, structures), name)

    worst = max(c.difference.relative for c in found.failures)
    assert ERROR / 100 < worst < 10 * ERROR


def test_what_a_backend_raises_is_a_failure(small, structures):
    found = verify_backend(expect(small, structures), "unfinished")

    assert not found.passed
    assert found.error == "NotImplementedError: no kernel for float64"
    assert not found.failures
    with pytest.raises(BackendMismatchError, match="it raised NotImplementedError"):
        check_backend(small, structures, "unfinished")


def test_results_are_the_same_every_time(small, structures):
    first, second = (
        verify_backend(expect(small, structures), "right") for _ in range(2)
    )

    assert [c.difference for c in first.checks] == [c.difference for c in second.checks]


def test_verification_leaves_random_numbers_and_potential_alone(small, structures):
    state = torch.random.get_rng_state()
    weights = {k: v.clone() for k, v in small.state_dict().items()}

    verify_backend(expect(small, structures), "right")

    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(v, weights[k]) for k, v in small.state_dict().items())
    assert small.backend == "clebsch_gordan"


def test_crystal_without_forces_is_judged_by_those_of_the_training_set():
    """All forces vanish by symmetry: what is left are rounding errors of both."""
    potential = random_potential(lmax=1, num_layers=2, elements=(14,), dtype="float32")
    crystal = bulk("Si", cubic=True)

    found = verify_backend(expect(potential, [crystal]), "right")

    assert found.passed
    forces = next(c for c in found.checks if c.quantity == "forces")
    assert forces.difference.scale == pytest.approx(1e-3 * potential.scale)


def test_molecules_alone_have_no_stress_to_compare(small, ethanol):
    found = verify_backend(expect(small, [ethanol]), "right")

    assert found.passed
    assert "stress" not in {check.quantity for check in found.checks}


def test_without_atoms_there_is_nothing_to_verify(small):
    with pytest.raises(ValueError, match="no atoms to verify on"):
        expect(small, [Atoms()])


def test_backend_that_cannot_compute_the_model_is_refused(small, structures):
    with pytest.raises(UnsupportedSpecError, match="weighting='per_degree'"):
        verify_backend(expect(small, structures), "spherical_grid")
    with pytest.raises(ValueError, match="unknown tensor-product backend 'warp'"):
        check_backend(small, structures, "warp")


def test_quick_check_takes_the_smallest_and_one_with_a_stress(small, structures):
    large = structures[0].copy()
    large.positions += [20, 0, 0]

    found = check_backend(small, [structures[0] + large, *structures], "right")

    assert found.structures == 2
    assert found.atoms == len(structures[0]) + len(structures[1])
    assert {check.quantity for check in found.checks} == set(ALL)


def test_quick_check_refuses_with_numbers(small, structures):
    with pytest.raises(BackendMismatchError) as caught:
        check_backend(small, structures, "wrong_second_derivative")

    message = str(caught.value)
    assert "'wrong_second_derivative' differs from the reference" in message
    assert "clebsch_gordan: Hessian-vector (float64) differs by" in message
    assert "forces" not in message
    worst = max(c.difference.max_abs for c in caught.value.report.failures)
    assert f"{worst:.2e} eV/Å^2" in message


def test_numbers_are_json(small, structures):
    found = verify_backend(expect(small, structures), "not_a_number").as_dict()

    assert found["passed"] is False
    assert found["checks"][0]["max_abs"] is None
    assert all(np.isfinite(check["tolerance"]) for check in found["checks"])
    assert all(check["reason"] for check in found["checks"])
