"""torch-sim's model validator, and comparison of its states with the calculator."""

import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
import torch_sim
from ase import Atoms
from ase.build import bulk
from torch_sim.models.interface import validate_model_outputs

from equipot import EquipotCalculator
from judges.torch_sim_model import EquipotModel
from judges.verdict import Verdict

JUDGE = f"torch-sim {version('torch-sim-atomistic')}"
TOLERANCE = 1e-9
"""Largest accepted difference in eV, eV/Å and eV/Å^3."""
CPU = torch.device("cpu")


def judge(path: Path) -> list[Verdict]:
    """Verdicts on a float64 model of Si and Fe."""
    calculator = EquipotCalculator(path, dtype="float64", on_extrapolation="ignore")
    model = EquipotModel(calculator.potential)
    return [_validated(model), *_compared(model, calculator)]


def _validated(model: EquipotModel) -> Verdict:
    start = time.perf_counter()
    try:
        validate_model_outputs(model, CPU, torch.float64)
        answer = "accepted"
    except ValueError as error:
        answer = str(error)
    return Verdict(
        JUDGE,
        "validate_model_outputs",
        answer,
        "accepted",
        "no error",
        answer == "accepted",
        time.perf_counter() - start,
    )


def _compared(model: EquipotModel, calculator: EquipotCalculator) -> list[Verdict]:
    """Comparison of a torch-sim batch with ASE, structure by structure."""
    start = time.perf_counter()
    structures = [_tilted("SiFe"), _tilted("SiFe") * (2, 1, 3), _tilted("FeFe")]
    found = model(torch_sim.io.atoms_to_state(structures, CPU, torch.float64))
    expected: dict[str, list[np.ndarray]] = {"energy": [], "forces": [], "stress": []}
    for atoms in structures:
        atoms.calc = calculator
        expected["energy"].append(np.array([atoms.get_potential_energy()]))
        expected["forces"].append(atoms.get_forces())
        expected["stress"].append(atoms.get_stress(voigt=False)[None])
    verdicts = []
    for name, parts in expected.items():
        error = float(np.abs(found[name].numpy() - np.concatenate(parts)).max())
        verdicts.append(
            Verdict(
                JUDGE,
                f"{name} of a batch of states, against ASE",
                error,
                0.0,
                f"at most {TOLERANCE:.0e}",
                error <= TOLERANCE,
                time.perf_counter() - start,
            )
        )
    return verdicts


def _tilted(formula: str) -> Atoms:
    """Crystal whose matrix of lattice vectors is not symmetric."""
    atoms = bulk(formula, "zincblende", a=4.6)
    cell = [[0.1, 2.4, 2.3], [2.2, 0.3, 2.5], [2.6, 2.1, -0.2]]
    atoms.set_cell(cell, scale_atoms=True)
    atoms.rattle(0.1, seed=0)
    return atoms
