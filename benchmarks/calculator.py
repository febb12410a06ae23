"""Overhead of the ASE calculator and of molecular dynamics over the potential alone.

    python -m benchmarks.calculator [MODEL] [--threads 1] [--before OTHER.json]

Milliseconds of an evaluation and of an MD step, and then microseconds of CPU time per
MD step in each part of the program, of which the potential is replaced by harmonic
springs. The time of a part excludes the parts that it calls; the sum is the mean over a
run that writes log, trajectory and checkpoints at the default intervals. Without a
model a small random one is used: the overhead does not depend on it.
"""

import functools
import itertools
import json
import tempfile
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from rich.console import Console

from benchmarks.common import options, random_potential, start
from benchmarks.step_parts import Springs, measure_parts, wide_domain
from equipot.bench.record import write_record
from equipot.bench.table import table_of
from equipot.bench.timing import interleaved_times
from equipot.calculators import EquipotCalculator
from equipot.checkpoint.file import load_potential
from equipot.config.md import MDConfig
from equipot.md import run_md
from equipot.models import Potential
from equipot.neighbors import build_graph

SYSTEMS: dict[str, Callable[[], Atoms]] = {
    "ethanol (9)": lambda: molecule("CH3CH2OH"),
    "silicon (64)": lambda: bulk("Si", cubic=True).repeat(2),
}
ENSEMBLES = ("nve", "langevin", "bussi", "nose_hoover_chain")
TEMPERATURE_K = 300.0


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = options(__doc__, "calculator.json")
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--before", type=Path, help="record of an earlier version")
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
    record |= {"ms": rows, "us_per_step": overhead(potential, arguments.steps)}
    if arguments.before is not None:
        earlier = json.loads(arguments.before.read_text())
        record["us_per_step_before"] = earlier["us_per_step"]
    for key in [key for key in record if key.startswith("us_per_step")]:
        title = key.replace("us", "microseconds", 1).replace("_", " ")
        screen.print(table_of(title, record[key]))
    write_record(arguments.json, record, screen)


def measure(atoms: Atoms, potential: Potential, rounds: int) -> dict[str, float]:
    """Milliseconds per evaluation of energy and forces, and per MD step."""
    graph = build_graph(atoms, potential.cutoff).to(potential.device)
    rng = np.random.default_rng(0)

    def evaluation(skin: float) -> Callable[[], object]:
        moving = atoms.copy()
        domain = wide_domain(atoms, potential.cutoff, channels=None)
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
    moving = atoms.copy()
    moving.calc = EquipotCalculator(potential, skin=0.5, on_extrapolation="ignore")
    with tempfile.TemporaryDirectory() as folder:
        # A random potential is not stable for long
        speed = run(moving, "nve", rounds, Path(folder), timestep=0.01)
    return milliseconds | {"MD step (mean)": 1000 / speed}


def overhead(potential: Potential, steps: int) -> list[dict[str, object]]:
    """Microseconds per MD step of each part of the program."""
    rows: list[dict[str, object]] = []
    for system, ensemble in itertools.product(SYSTEMS, ENSEMBLES):
        atoms = SYSTEMS[system]()
        if not set(atoms.numbers.tolist()) <= set(potential.elements):
            continue
        domain = wide_domain(atoms, potential.cutoff, channels=64)
        calculator = EquipotCalculator(potential, skin=0.5, domain=domain)
        calculator.potential = Springs(atoms, potential.cutoff, channels=64)
        atoms.calc = calculator
        parts = measure_parts(functools.partial(run, atoms, ensemble, steps), steps)
        rows.append({"system": system, "ensemble": ensemble} | parts)
    return rows


def run(
    atoms: Atoms,
    ensemble: str,
    steps: int,
    folder: Path,
    timestep: float = 0.5,
) -> float:
    """Steps per second of a run with all output of the driver."""
    config = MDConfig.model_validate(
        {
            "model": "none",
            "structure": {"file": "none"},
            "ensemble": {"name": ensemble},
            "temperature": TEMPERATURE_K,
            "timestep": timestep,
            "steps": steps,
            "num_threads": torch.get_num_threads(),
        }
    )
    summary = run_md(atoms, config, folder, console=Console(file=StringIO()))
    return summary.steps_per_second or 0.0


if __name__ == "__main__":
    main()
