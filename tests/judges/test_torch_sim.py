"""What torch-sim's validator says of a potential, and what its states become."""

import importlib

import pytest
import torch
from ase import Atoms
from ase.build import bulk

from equipot import EquipotCalculator
from tests.potentials import random_potential

torch_sim = pytest.importorskip(
    "torch_sim", reason="torch-sim is not installed: `make judges` brings it"
)
interface = importlib.import_module("torch_sim.models.interface")
adapter = importlib.import_module("judges.torch_sim_model")


@pytest.fixture(scope="module")
def model():
    return adapter.EquipotModel(random_potential((14, 26)))


def tilted(shift: float) -> Atoms:
    """A crystal whose lattice vectors, as rows, are no symmetric matrix."""
    atoms = bulk("SiFe", "zincblende", a=4.6)
    atoms.set_cell(
        [[0.1, 2.4, 2.3], [2.2, 0.3, 2.5], [2.6, 2.1, -0.2]], scale_atoms=True
    )
    atoms.positions[1] += shift
    return atoms


def state_of(structures):
    return torch_sim.io.atoms_to_state(structures, torch.device("cpu"), torch.float64)


def test_validator_of_torch_sim_accepts_a_potential(model):
    interface.validate_model_outputs(model, torch.device("cpu"), torch.float64)


def test_batches_of_torch_sim_get_what_the_calculator_gives(model):
    structures = [tilted(0.1), tilted(-0.2) * (2, 1, 1)]
    calculator = EquipotCalculator(model.potential)

    found = model(state_of(structures))

    forces = []
    for n, atoms in enumerate(structures):
        atoms.calc = calculator
        assert float(found["energy"][n]) == pytest.approx(
            atoms.get_potential_energy(), rel=1e-12
        )
        torch.testing.assert_close(
            found["stress"][n],
            torch.from_numpy(atoms.get_stress(voigt=False)),
            rtol=0,
            atol=1e-12,
        )
        forces.append(torch.from_numpy(atoms.get_forces()))
    torch.testing.assert_close(found["forces"], torch.cat(forces), rtol=0, atol=1e-11)
