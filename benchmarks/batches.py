"""Energies, forces and stresses of many small systems: one by one against batches.

    python -m benchmarks.batches [MODEL ...] --threads 1 [--not-frozen]

Systems: molecules of 28 atoms and periodic cells of 20 atoms, all rattled, with
atoms in random order. Without model files, random potentials of two sizes are used:
times do not depend on the weights. Each structure goes through the calculator, with its
checks. Times are CPU times, medians of interleaved rounds, in milliseconds for all
structures:

- *single*: one call of the calculator for each structure;
- *batch*: one call of `EquipotCalculator.evaluate`;
- *pairs*, *graph*, *potential*, *rest*: parts of *batch*, which are the search of
  neighbors, assembly and pairing of edges, the evaluation of the potential, and the
  checks and the division of the results;
- *relax single* and *relax batch*: a few steps of L-BFGS of all structures.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import make_supercell
from ase.calculators.calculator import Calculator
from ase.data.s22 import create_s22_system
from ase.optimize import LBFGS

from benchmarks.common import options, random_potential, start
from equipot.bench.record import write_record
from equipot.bench.table import table_of
from equipot.calculators import EquipotCalculator
from equipot.calculators.batch import MAX_EDGES, MAX_STRUCTURES
from equipot.checkpoint.file import load_potential
from equipot.data.batching import evaluation_batches
from equipot.domain import Domain
from equipot.models import Potential
from equipot.models.prediction import Output
from equipot.neighbors import NeighborList, build_batch, neighbor_lists
from equipot.workflows import relax_many

ELEMENTS = (1, 6, 7, 8, 22, 38)
SIZES = {
    "small": {"lmax": 1, "channels": 64, "num_layers": 2},
    "medium": {"lmax": 2, "channels": 64, "num_layers": 4},
}
"""Random potentials with a cutoff of 5 Å."""

NUM_STRUCTURES = 32
STEPS = 3
"""Steps of the relaxations."""


def main() -> None:
    """Measure, print a table, write JSON."""
    parser = options(__doc__, "batches.json")
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--not-frozen", action="store_true", help="use autograd")
    arguments = parser.parse_args()
    screen, record = start(arguments)
    frozen = not arguments.not_frozen
    record["settings"]["models"] = [path.name for path in arguments.models]
    potentials = {path.stem: load_potential(path) for path in arguments.models} or {
        name: random_potential(ELEMENTS, cutoff=5.0, backend="fused", **size)
        for name, size in SIZES.items()
    }
    rows = []
    for system, structures in systems().items():
        for name, potential in potentials.items():
            if set(structures[0].numbers.tolist()) <= set(potential.elements):
                rows.append(
                    {"system": system, "model": name}
                    | measure(structures, potential, arguments.rounds, frozen)
                )
    screen.print(table_of(f"CPU milliseconds for {NUM_STRUCTURES} structures", rows))
    write_record(arguments.json, record | {"ms": rows}, screen)


def systems() -> dict[str, list[Atoms]]:
    """Structures by name."""
    molecule = create_s22_system("Indole-benzene_complex_stack")
    positions = [
        (0, 0, 0),
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0),
        (0.5, 0, 0.5),
        (0, 0.5, 0.5),
    ]
    perovskite = Atoms("SrTiO3", scaled_positions=positions, cell=[3.905] * 3, pbc=True)
    cell = make_supercell(perovskite, [[1, 1, 0], [-1, 1, 0], [0, 0, 2]])
    return {
        f"{len(atoms)}-atom {kind}": _rattled(atoms)
        for kind, atoms in (("molecules", molecule), ("cells", cell))
    }


def _rattled(atoms: Atoms) -> list[Atoms]:
    copies = []
    for seed in range(NUM_STRUCTURES):
        # in another order, or they would share a neighbor list with a skin
        order = np.random.default_rng(seed).permutation(len(atoms))
        copies.append(Atoms(atoms, calculator=None)[order])
        copies[-1].rattle(0.05, seed=seed)
    return copies


def measure(
    structures: Sequence[Atoms], potential: Potential, rounds: int, frozen: bool
) -> dict[str, Any]:
    """Milliseconds for all structures, and the ratio of batch to single calls."""
    cutoff = potential.cutoff
    lists = neighbor_lists(structures, cutoff)
    graphs = [
        build_batch(some, cutoff, neighbors=pairs)
        for some, pairs in _batches(structures, lists)
    ]
    for graph in graphs:
        graph.pairs  # noqa: B018 - cached
    outputs: set[Output] = {"energy", "forces"}
    if structures[0].pbc.any():
        outputs.add("stress")
    calculator = EquipotCalculator(potential, domain=_domain(), frozen=frozen)
    evaluation = calculator.evaluation

    def assemble() -> None:
        for some, pairs in _batches(structures, lists):
            build_batch(some, cutoff, neighbors=pairs).pairs  # noqa: B018

    ms = _cpu_milliseconds(
        {
            "single": lambda: _single(structures, calculator),
            "batch": lambda: calculator.evaluate(structures),
            "pairs": lambda: neighbor_lists(structures, cutoff),
            "graph": assemble,
            "potential": lambda: [evaluation(graph, outputs) for graph in graphs],
            "relax single": lambda: _relax_single(structures, calculator),
            "relax batch": lambda: relax_many(
                structures, calculator, fmax=1e-9, max_steps=STEPS
            ),
        },
        rounds=rounds,
    )
    parts = ms["pairs"] + ms["graph"] + ms["potential"]
    return {
        "edges": lists[0].index.shape[1],
        **ms,
        "rest": ms["batch"] - parts,
        "batch/single": ms["batch"] / ms["single"],
        "relax ratio": ms["relax batch"] / ms["relax single"],
    }


def _cpu_milliseconds(
    calls: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, float]:
    """Median CPU time of each call, which hardly depends on other programs."""
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for n in range(rounds + 1):  # the first round fills caches
        for name, call in calls.items():
            begin = time.process_time()
            call()
            if n > 0:
                samples[name].append(1000 * (time.process_time() - begin))
    return {name: median(values) for name, values in samples.items()}


def _batches(
    structures: Sequence[Atoms], lists: Sequence[NeighborList]
) -> list[tuple[list[Atoms], list[NeighborList]]]:
    """The batches of the calculator."""
    edges = [len(pairs.shift) for pairs in lists]
    return [
        ([structures[n] for n in batch], [lists[n] for n in batch])
        for batch in evaluation_batches(edges, MAX_STRUCTURES, MAX_EDGES)
    ]


def _single(structures: Sequence[Atoms], calculator: Calculator) -> None:
    for atoms in structures:
        wanted = ["energy", "forces", *(["stress"] if atoms.pbc.any() else [])]
        calculator.calculate(atoms, wanted)


def _relax_single(structures: Sequence[Atoms], calculator: Calculator) -> None:
    for atoms in structures:
        moving = atoms.copy()
        moving.calc = calculator
        LBFGS(moving, logfile=None).run(fmax=1e-9, steps=STEPS)


def _domain() -> Domain:
    """Domain that contains all structures, so that every check is done."""
    symbols = ("H", "C", "N", "O", "Ti", "Sr")
    return Domain(
        minimum_distances={f"{a}-{b}": 0.1 for a in symbols for b in symbols},
        neighbors=dict.fromkeys(symbols, (0, 1000)),
        density=(0.0, 10.0),
        energy=(-1e6, 1e6),
        largest_force=1e6,
    )


if __name__ == "__main__":
    main()
