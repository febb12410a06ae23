"""A small set of copper-gold crystals with forces and stress, and a small potential."""

from pathlib import Path

import ase.io
import pytest
import yaml
from ase.build import bulk
from ase.calculators.emt import EMT


def _crystal(n: int):
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


@pytest.fixture(scope="session")
def crystal_folder(tmp_path_factory) -> Path:
    """Folder with train.xyz (12), valid.xyz (3) and test.xyz (3)."""
    folder = tmp_path_factory.mktemp("crystals")
    crystals = [_crystal(n) for n in range(18)]
    for name, part in (
        ("train", slice(12)),
        ("valid", slice(12, 15)),
        ("test", slice(15, 18)),
    ):
        ase.io.write(folder / f"{name}.xyz", crystals[part], format="extxyz")
    return folder


@pytest.fixture
def config_tree(crystal_folder) -> dict:
    """Configuration of a run of 18 steps: 3 epochs of 6 batches."""
    return {
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
            "root": str(crystal_folder),
            "train": ["train.xyz"],
            "valid": ["valid.xyz"],
            "test": {"bulk": ["test.xyz"]},
        },
        "training": {
            "epochs": 3,
            "batch_size": 2,
            "optimizer": {"lr": 0.01},
            "loss": {"stress": {"weight": 10}},
            "num_threads": 1,
            "device": "cpu",
            "verify": False,
        },
    }


@pytest.fixture
def write_config(tmp_path, config_tree):
    """Writes the configuration, edited by overrides, and returns its path."""

    def write() -> Path:
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump(config_tree))
        return path

    return write
