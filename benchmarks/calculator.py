"""Overhead of the ASE calculator and of molecular dynamics over the potential alone.

    python -m benchmarks.calculator [MODEL] [--threads 1]

Without a model a small random one is used: the overhead does not depend on it. Times
are medians of interleaved calls in milliseconds.
"""

import tempfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import chemical_symbols
from rich.console import Console

from benchmarks.common import options, random_potential, start
from equipot.bench.record import write_record
from equipot.bench.table import table_of
from equipot.bench.timing import interleaved_times
from equipot.calculators import EquipotCalculator
from equipot.checkpoint.file import load_potential
from equipot.config.md import MDConfig
from equipot.domain import Domain
from equipot.md import run_md
from equipot.models import Potential
from equipot.neighbors import build_graph

SYSTEMS = {
    "ethanol (9)": lambda: molecule("CH3CH2OH"),
    "silicon (64)": lambda: bulk("Si", cubic=True).repeat(2),
}


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = options(__doc__, "calculator.json")
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    screen, record = start(arguments)
    rows = []
    if (model := arguments.model) is not None:
        call = {"load": lambda: load_potential(model)}
        record["load_ms"] = 1000 * median(interleaved_times(call)["load"])
        screen.print(f"model loaded in {record['load_ms']:.0f} ms")
        potential = load_potential(model)
    else:
        small = {"lmax": 1, "channels": 16, "num_layers": 2, "radial_hidden": (16,)}
        potential = random_potential((1, 6, 8, 14), **small)
    for name, make in SYSTEMS.items():
        if set(make().numbers.tolist()) <= set(potential.elements):
            rows.append({"system": name} | measure(make(), potential, arguments.rounds))
    screen.print(table_of("milliseconds", rows))
    write_record(arguments.json, record | {"ms": rows}, screen)


def measure(atoms: Atoms, potential: Potential, rounds: int) -> dict[str, float]:
    """Milliseconds per evaluation of energy and forces, and per MD step."""
    graph = build_graph(atoms, potential.cutoff).to(potential.device)
    rng = np.random.default_rng(0)
    symbols = [chemical_symbols[z] for z in potential.elements]
    distances = {f"{a}-{b}": 0.1 for a in symbols for b in symbols}
    domain = Domain(minimum_distances=distances)

    def evaluation(skin: float) -> Callable[[], object]:
        moving = atoms.copy()
        moving.calc = EquipotCalculator(potential, skin=skin, domain=domain)

        def call() -> None:
            moving.positions += rng.normal(0, 1e-4, moving.positions.shape)
            moving.get_forces()

        return call

    times = interleaved_times(
        {
            "potential alone": lambda: potential(graph, {"energy", "forces"}),
            "calculator": evaluation(skin=0.0),
            "calculator with skin": evaluation(skin=0.5),
        },
        rounds=rounds,
    )
    milliseconds = {name: 1000 * median(samples) for name, samples in times.items()}
    return milliseconds | {"MD step (mean)": md_step(atoms.copy(), potential, rounds)}


def md_step(atoms: Atoms, potential: Potential, steps: int) -> float:
    """Milliseconds per step of NVE dynamics at 10 K with all output of the driver."""
    config = MDConfig.model_validate(
        {
            "model": "none",
            "structure": {"file": "none"},
            "ensemble": {"name": "nve"},
            "temperature": 10,
            "steps": steps,
            "num_threads": torch.get_num_threads(),
        }
    )
    atoms.calc = EquipotCalculator(potential, skin=0.5, always=("forces", "stress"))
    with tempfile.TemporaryDirectory() as folder:
        summary = run_md(atoms, config, Path(folder), console=Console(file=StringIO()))
    return 1000 / summary.steps_per_second


if __name__ == "__main__":
    main()
