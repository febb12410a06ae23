"""Small runs that tests start, kill and resume in processes of their own."""

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from rich.console import Console

from equipot.calculators import EquipotCalculator
from equipot.config.md import MDConfig
from equipot.md import MDSummary, run_md
from tests.potentials import random_potential

ENSEMBLES = {
    "nve": {"name": "nve"},
    "langevin": {"name": "langevin", "friction": 0.02},
    "bussi": {"name": "bussi"},
    "nose_hoover_chain": {"name": "nose_hoover_chain"},
    "npt_isotropic": {"name": "npt", "pressure": 1.0, "taup": 300},
    "npt_full": {"name": "npt", "cell": "full", "taup": 300},
    "npt_berendsen": {"name": "npt_berendsen", "compressibility": 0.01},
}


def configuration(ensemble: str | dict, **changes: object) -> MDConfig:
    """Short run at 400 K, of an ensemble by its name here, or as a section."""
    values = {
        "model": "none",
        "structure": {"file": "none"},
        "ensemble": ENSEMBLES[ensemble] if isinstance(ensemble, str) else ensemble,
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


def network() -> Atoms:
    """Four atoms with a network that nobody has trained, and a skin."""
    potential = random_potential((29,), cutoff=3.0, lmax=1, num_layers=2, zbl=True)
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.05, seed=1)
    atoms.calc = EquipotCalculator(potential, skin=0.3, always=("forces", "stress"))
    return atoms


SYSTEMS = {"copper": copper, "network": network}


def run(
    system: str,
    ensemble: str,
    output: Path,
    resume: bool = False,
    console: Console | None = None,
    **changes: object,
) -> MDSummary:
    """Run to the end with one thread, silently unless there is a console."""
    torch.set_num_threads(1)
    return run_md(
        SYSTEMS[system](),
        configuration(ensemble, **changes),
        output,
        resume=resume,
        console=console or Console(file=StringIO()),
    )


def run_quietly(
    atoms: Atoms,
    ensemble: str | dict,
    output: Path,
    interrupted: Callable[[], bool] = lambda: False,
    **changes: object,
) -> MDSummary:
    """Run atoms that have a calculator."""
    return run_md(
        atoms,
        configuration(ensemble, **changes),
        output,
        console=Console(file=StringIO()),
        interrupted=interrupted,
    )
