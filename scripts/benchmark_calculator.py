"""What the calculator and the MD driver cost beyond the potential itself.

OMP_NUM_THREADS=1 python scripts/benchmark_calculator.py [MODEL] [--json FILE]

Without a model a small random one is used: the cost beyond it does not depend on it.
Times are medians of many calls in milliseconds.
"""

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.data import chemical_symbols
from rich.console import Console
from rich.table import Table

from equipot.calculators import EquipotCalculator
from equipot.checkpoint.file import load_potential
from equipot.config.md import MDConfig
from equipot.config.model import NequIPConfig
from equipot.data.statistics import Statistics
from equipot.domain import Domain
from equipot.md import run_md
from equipot.models import Potential, build_potential
from equipot.neighbors import build_graph

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "calculator.json"
CALLS = 200
SYSTEMS = {
    "ethanol (9)": lambda: molecule("CH3CH2OH"),
    "silicon (64)": lambda: bulk("Si", cubic=True).repeat(2),
}


def small_potential() -> Potential:
    """Random potential of a few thousand weights."""
    config = NequIPConfig(lmax=1, channels=16, num_layers=2, radial_hidden=(16,))
    elements = (1, 6, 8, 14)
    statistics = Statistics(
        elements=elements,
        reference_energies=dict.fromkeys(elements, 0.0),
        reference_source="given",
        reference_rank=len(elements),
        energy_scale=0.01,
        energy_shift=0.0,
        average_num_neighbors=20.0,
        minimum_distances={},
        cutoff=config.cutoff,
        num_structures=1,
        num_atoms=1,
        num_edges=20,
        element_counts={},
        label_counts={},
        config_types={},
    )
    return build_potential(config, statistics).eval().requires_grad_(False)


def milliseconds(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median time of each call; they take turns, so that all see the same machine."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(CALLS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: 1000 * float(np.median(values)) for name, values in times.items()}


def measure(atoms: Atoms, potential: Potential) -> dict[str, float]:
    """Times per evaluation of energy and forces."""
    graph = build_graph(atoms, potential.cutoff).to(potential.device)
    outputs = {"energy", "forces"}
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

    times = milliseconds(
        {
            "potential alone": lambda: potential(graph, outputs),
            "calculator": evaluation(skin=0.0),
            "calculator with skin": evaluation(skin=0.5),
        }
    )
    return {**times, "MD step (mean)": md_step(atoms.copy(), potential)}


def md_step(atoms: Atoms, potential: Potential) -> float:
    """Time of a step of NVE at 10 K, everything that the driver does included."""
    config = MDConfig.model_validate(
        {
            "model": "none",
            "structure": {"file": "none"},
            "ensemble": {"name": "nve"},
            "temperature": 10,
            "steps": CALLS,
        }
    )
    atoms.calc = EquipotCalculator(potential, skin=0.5, always=("forces", "stress"))
    with tempfile.TemporaryDirectory() as folder:
        summary = run_md(atoms, config, Path(folder), console=Console(file=StringIO()))
    return 1000 / summary.steps_per_second


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", type=Path)
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    start = time.perf_counter()
    model = arguments.model
    potential = load_potential(model) if model else small_potential()
    loading = 1000 * (time.perf_counter() - start)

    results = {}
    for name, make in SYSTEMS.items():
        if set(make().numbers.tolist()) <= set(potential.elements):
            results[name] = measure(make(), potential)
    table = Table("milliseconds", *results)
    for row in next(iter(results.values())):
        table.add_row(row, *(f"{column[row]:.3f}" for column in results.values()))
    Console().print(table, f"model ready after {loading:.0f} ms")
    document = {
        "model": str(model or "random"),
        "device": str(potential.device),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "load_ms": loading,
        "ms": results,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
