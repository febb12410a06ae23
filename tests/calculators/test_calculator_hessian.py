"""`EquipotCalculator.get_hessian`: second derivatives for ASE users."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.calculator import CalculationFailed

from equipot.calculators import EquipotCalculator, ExtrapolationError
from equipot.domain import Domain
from equipot.hessians import hessian
from equipot.models import direct_hessian, with_backend
from equipot.neighbors import build_graph
from equipot.tensor_products.availability import unavailable
from tests.potentials import random_potential


@pytest.mark.parametrize("skin", [0.0, 0.5])
@pytest.mark.parametrize("system", ["ethanol", "silica"])
def test_is_the_hessian_of_the_potential(system, skin, request):
    atoms = request.getfixturevalue(system)
    potential = random_potential(lmax=1, num_layers=2)
    calculator = EquipotCalculator(potential, skin=skin)

    found = calculator.get_hessian(atoms)

    expected = hessian(potential, build_graph(atoms, potential.cutoff)).numpy()
    assert found.shape == (len(atoms), 3, len(atoms), 3)
    assert found.dtype == np.float64
    assert found == pytest.approx(expected, abs=1e-12 * np.abs(expected).max())


def test_leaves_out_the_last_structure_and_keeps_results(ethanol):
    calculator = EquipotCalculator(random_potential(lmax=1, num_layers=1))
    ethanol.calc = calculator
    energy = ethanol.get_potential_energy()

    found = calculator.get_hessian()

    assert found == pytest.approx(calculator.get_hessian(ethanol), abs=0)
    assert calculator.results["energy"] == energy


def test_the_direct_hessian_is_given_on_request_only(ethanol):
    head = {"cutoff": 6.0, "channels": 4, "num_basis": 4, "hidden": (8,)}
    potential = random_potential(lmax=1, num_layers=1, direct_hessian=head)
    calculator = EquipotCalculator(potential)

    found = calculator.get_hessian(ethanol, direct=True)

    (matrix,) = direct_hessian(
        potential, build_graph(ethanol, potential.cutoff)
    ).matrices()
    assert found.shape == (len(ethanol), 3, len(ethanol), 3)
    assert found.reshape(matrix.shape) == pytest.approx(matrix.numpy(), abs=1e-12)
    assert np.abs(found - calculator.get_hessian(ethanol)).max() > 1e-3
    with pytest.raises(ValueError, match=r"section model\.direct_hessian"):
        EquipotCalculator(random_potential(num_layers=1)).get_hessian(
            ethanol, direct=True
        )


def test_hessian_refusals(ethanol):
    potential = random_potential(lmax=0, num_layers=1)
    with pytest.raises(ValueError, match="pass atoms to get_hessian"):
        EquipotCalculator(potential).get_hessian()
    close = Atoms("CH", positions=[[0, 0, 0], [0, 0, 0.3]])
    careful = EquipotCalculator(
        potential, domain=Domain(minimum_distances={"C-H": 1.0})
    )
    with pytest.raises(ExtrapolationError, match="extrapolates"):
        careful.get_hessian(close)
    with torch.no_grad():
        potential.head.last[0].weight[0, 0] = torch.nan
    with pytest.raises(CalculationFailed, match="a Hessian with values"):
        EquipotCalculator(potential).get_hessian(ethanol)


def test_compiled_ops_take_the_edges_of_the_calculator(ethanol):
    """Rows of its edge list are not contiguous."""
    if (reason := unavailable("fused", torch.device("cpu"))) is not None:
        pytest.skip(reason)
    potential = random_potential(lmax=1, num_layers=2)
    fused = with_backend(potential, "fused")

    found, expected = (
        EquipotCalculator(p).get_hessian(ethanol) for p in (fused, potential)
    )

    assert found == pytest.approx(expected, abs=1e-12 * np.abs(expected).max())
