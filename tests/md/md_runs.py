"""Small runs that tests start, kill and resume in processes of their own."""

from io import StringIO
from pathlib import Path

import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from rich.console import Console

from equipot.calculators import EquipotCalculator
from equipot.config.md import MDConfig
from equipot.config.model import ModelConfig
from equipot.data.statistics import Statistics
from equipot.md import MDSummary, run_md
from equipot.models.build import build_potential

ENSEMBLES = {
    "nve": {"name": "nve"},
    "langevin": {"name": "langevin", "friction": 0.02},
    "bussi": {"name": "bussi"},
    "nose_hoover_chain": {"name": "nose_hoover_chain"},
    "npt_isotropic": {"name": "npt", "pressure": 1.0, "taup": 300},
    "npt_full": {"name": "npt", "cell": "full", "taup": 300},
    "npt_berendsen": {"name": "npt_berendsen", "compressibility": 0.01},
}


def configuration(ensemble: str, **changes: object) -> MDConfig:
    """Short run at 400 K."""
    values = {
        "model": "none",
        "structure": {"file": "none"},
        "ensemble": ENSEMBLES[ensemble],
        "steps": 120,
        "timestep": 4.0,
        "temperature": 400,
        "seed": 3,
        "record": {"log": 3, "trajectory": 7, "checkpoint": 20, "format": "traj"},
        "alarms": {"min_distance": 1.0},
    }
    return MDConfig.model_validate({**values, **changes})


def copper() -> Atoms:
    """Four atoms with EMT, whose neighbor list remembers when it was built."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = EMT()
    return atoms


def random_potential() -> Atoms:
    """Four atoms with a network that nobody has trained, and a skin."""
    statistics = Statistics(
        elements=(29,),
        reference_energies={29: -1.0},
        reference_source="given",
        reference_rank=1,
        energy_scale=0.05,
        energy_shift=-1.0,
        average_num_neighbors=12.0,
        minimum_distances={"Cu-Cu": 0.5},
        cutoff=3.0,
        num_structures=1,
        num_atoms=4,
        num_edges=48,
        element_counts={"Cu": 4},
        label_counts={},
        config_types={},
    )
    config = ModelConfig(
        cutoff=3.0,
        lmax=1,
        channels=4,
        num_layers=2,
        radial_hidden=(8,),
        readout_hidden=8,
        zbl=True,
        dtype="float64",
    )
    potential = build_potential(config, statistics, seed=0)
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = EquipotCalculator(
        potential,
        minimum_distances=statistics.minimum_distances,
        skin=0.3,
        always=("forces", "stress"),
    )
    return atoms


SYSTEMS = {"copper": copper, "random_potential": random_potential}


def run(
    system: str, ensemble: str, output: Path, resume: bool = False, **changes: object
) -> MDSummary:
    """Run to the end, silently and with one thread."""
    torch.set_num_threads(1)
    return run_md(
        SYSTEMS[system](),
        configuration(ensemble, **changes),
        output,
        resume=resume,
        console=Console(file=StringIO()),
    )
