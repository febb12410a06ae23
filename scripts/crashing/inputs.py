"""Structures and configurations of short runs."""

from pathlib import Path
from typing import Any

import ase.io
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

ENSEMBLES = {
    "nve": {"name": "nve"},
    "langevin": {"name": "langevin", "friction": 0.02},
    "bussi": {"name": "bussi"},
    "nose_hoover_chain": {"name": "nose_hoover_chain"},
    "npt": {"name": "npt", "pressure": 1.0, "taup": 300},
    "npt_full": {"name": "npt", "cell": "full", "taup": 300},
    "npt_berendsen": {"name": "npt_berendsen", "compressibility": 0.01},
}


def write_training(folder: Path, **training: Any) -> Path:
    """Write crystals with labels, and the configuration of a short training on them.

    Args:
        folder: Made.
        training: Changes to that section.

    Returns:
        The configuration: 4 epochs of 6 batches, a state every 4 steps.
    """
    folder.mkdir(parents=True)
    crystals = [_crystal(n) for n in range(18)]
    parts = {"train": crystals[:12], "valid": crystals[12:15], "test": crystals[15:]}
    for name, part in parts.items():
        ase.io.write(folder / f"{name}.xyz", part, format="extxyz")
    tree = {
        "seed": 3,
        "model": {
            "cutoff": 3.2,
            "lmax": 1,
            "channels": 2,
            "num_layers": 2,
            "num_basis": 3,
            "radial_hidden": [4],
            "readout_hidden": 4,
            "dtype": "float64",
            "backend": "clebsch_gordan",
        },
        "data": {
            "root": str(folder),
            "train": ["train.xyz"],
            "valid": ["valid.xyz"],
            "test": {"bulk": ["test.xyz"]},
        },
        "training": {
            "epochs": 4,
            "batch_size": 2,
            "checkpoint_steps": 4,
            "optimizer": {"lr": 0.01},
            "loss": {"stress": {"weight": 10}},
            "num_threads": 1,
            "device": "cpu",
            "verify": False,  # would take most of the time, and writes one file
            **training,
        },
    }
    config = folder / "training.yaml"
    config.write_text(yaml.safe_dump(tree))
    return config


def write_dynamics(
    folder: Path, model: Path, ensemble: str, form: str, steps: int
) -> Path:
    """Write a structure, and the configuration of short dynamics.

    Args:
        folder: Made if missing.
        model: Trained potential.
        ensemble: One of `ENSEMBLES`.
        form: Of the trajectory.
        steps: In all; a state every 12.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ase.io.write(folder / "start.xyz", _crystal(0), format="extxyz")
    tree = {
        "model": str(model),
        "structure": {"file": str(folder / "start.xyz")},
        "ensemble": ENSEMBLES[ensemble],
        "steps": steps,
        "timestep": 2.0,
        "temperature": 400,
        "seed": 3,
        "record": {"log": 3, "trajectory": 5, "checkpoint": 12, "format": form},
        "on_extrapolation": "record",
        "num_threads": 1,
        "device": "cpu",
    }
    config = folder / f"{ensemble}_{form}_{steps}.yaml"
    config.write_text(yaml.safe_dump(tree))
    return config


def _crystal(n: int) -> Atoms:
    atoms = bulk("Cu" if n % 2 else "Au", cubic=True)
    atoms.numbers[0] = 29 if n % 3 else 79
    atoms.rattle(0.1, seed=n)
    atoms.calc = EMT()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    stress = atoms.get_stress(voigt=False)
    atoms.calc = None
    atoms.info.update(REF_energy=energy, REF_stress=stress, config_type=f"type{n % 2}")
    atoms.arrays["REF_forces"] = forces
    return atoms
