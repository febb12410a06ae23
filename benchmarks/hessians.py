"""Time and memory of Hessians: beside MACE, in batches, and for thousands of atoms.

    python -m benchmarks.hessians --structure FILE [--mace PYTHON] [--rounds 3]
        [--parts peers hundred batches sparse] [--peers NAME ...] [--sparse 4 6 8]

PYTHON is the interpreter of an environment with mace-torch 0.3.16 and the same torch;
without it that comparison is left out. FILE holds a molecule of H, C, N, O and is read
with ASE. Peers run in turn, in new processes; wall and processor time are medians of
the second call of a process, memory is the peak of the additional resident memory.
Sparse cells are silicon of n x n x n cubic cells. Run it on an idle machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule

from benchmarks.common import RESULTS, options, random_potential, start
from benchmarks.peers.hessians import MAKERS, SPECIES, cost, equipot_hessian
from equipot.bench.record import write_record
from equipot.bench.table import table_of
from equipot.graph.atomic_graph import collate
from equipot.hessians import hessian, hessians, sparse_hessian
from equipot.neighbors import build_graph

Row = dict[str, Any]


def main() -> None:
    """Measure, print tables, write JSON."""
    arguments = _parse()
    if arguments.job:
        torch.set_num_threads(arguments.threads)
        print(json.dumps(JOBS[arguments.job](arguments)))
        return
    screen, record = start(arguments)

    def fresh(job: str, number: int) -> Row:
        options = [*sys.argv[1:], "--job", job, "--number", str(number)]
        return _run(sys.executable, "benchmarks.hessians", *options)

    parts: dict[str, Callable[[], list[Row]]] = {
        "peers": lambda: compare_peers(arguments),
        "hundred": lambda: [fresh("hundred", 0)],
        "batches": lambda: [fresh("batches", number) for number in (0, 1)],
        "sparse": lambda: [fresh("sparse", number) for number in arguments.sparse],
    }
    if arguments.json.exists():  # parts that were measured before
        record = json.loads(arguments.json.read_text(encoding="utf-8")) | record
    for name in arguments.parts:
        record[name] = parts[name]()
        screen.print(table_of(name, record[name]))
        write_record(arguments.json, record, screen)


def compare_peers(arguments: argparse.Namespace) -> list[Row]:
    """Hessians of one molecule by equipot and by MACE, in turn and in new processes."""
    names = [n for n in arguments.peers if arguments.mace or not n.startswith("mace")]
    answers: dict[str, list[Row]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "molecule.xyz"
        ase.io.write(path, _molecule(arguments))
        for name in names * arguments.rounds:
            python = arguments.mace if name.startswith("mace") else sys.executable
            options = [name, str(path), "--threads", str(arguments.threads)]
            answers[name].append(_run(python, "benchmarks.peers.hessians", *options))
    rows: dict[str, Row] = {
        name: {"name": name} | {key: median(a[key] for a in found) for key in found[0]}
        for name, found in answers.items()
    }
    for name, row in rows.items():
        nearest = rows.get("equipot-filter3" if name == "mace-ell3" else "equipot")
        for key in ("wall_s", "cpu_s", "memory_MB") if nearest else ():
            row[f"x {key}"] = row[key] / nearest[key]
    return list(rows.values())


def hundred_atoms(_: argparse.Namespace) -> Row:
    """A densely packed hundred: the atoms of diamond nearest to a point."""
    crystal = bulk("C", cubic=True) * (5, 5, 5)
    center = crystal.cell.sum(axis=0) / 2 + 0.1
    order = np.argsort(np.linalg.norm(crystal.positions - center, axis=1))
    atoms = Atoms("C100", positions=crystal.positions[order[:100]])
    atoms.rattle(0.05, seed=0)
    function = equipot_hessian(1)
    edges = build_graph(atoms, 5.0).num_edges
    return {"atoms": 100, "edges": edges} | cost(lambda: function(atoms))


def batches(arguments: argparse.Namespace) -> Row:
    """32 molecules at once, and each alone."""
    small = arguments.number == 0
    template = molecule("CH3CH2OH") if small else _molecule(arguments)
    channels, hidden = (32 if small else 128), (64, 64, 64)
    potential = _potential(SPECIES, 5.0, channels=channels, radial_hidden=hidden)
    graphs = []
    for seed in range(32):
        atoms = template.copy()
        atoms.rattle(0.05, seed=seed)
        graphs.append(build_graph(atoms, potential.cutoff))
    singles = graphs if small else graphs[:8]
    hessian(potential, graphs[0])
    alone = cost(lambda: [hessian(potential, graph) for graph in singles])
    together = cost(lambda: hessians(potential, collate(graphs)))
    factor = 32 / len(singles)
    times = ("wall_s", "cpu_s")
    return {
        "atoms": f"32 x {len(template)}",
        "channels": channels,
        **{f"alone_{key}": alone[key] * factor for key in times},
        **together,
        **{f"share_{key}": together[key] / alone[key] / factor for key in times},
    }


def sparse(arguments: argparse.Namespace) -> Row:
    """All rows of a silicon cell; two layers, 16 channels, degree 1, 4 Å."""
    n = arguments.number
    atoms = bulk("Si", cubic=True) * (n, n, n)
    atoms.rattle(0.05, seed=0)
    potential = _potential((14,), 4.0, channels=16, radial_hidden=(16,))
    graph = build_graph(atoms, potential.cutoff)
    sparse_hessian(potential, graph, atoms=range(8))
    result: list[Any] = []
    row: Row = {"atoms": len(atoms)}
    row |= cost(lambda: result.append(sparse_hessian(potential, graph)))
    matrix = result[0]
    row |= {
        "ms_per_atom_cpu": 1e3 * row["cpu_s"] / len(atoms),
        "blocks_MB": (matrix.data.nbytes + matrix.indices.nbytes) / 2**20,
        "dense_MB": (3 * len(atoms)) ** 2 * 8 / 2**20,
    }
    if n == min(arguments.sparse):
        rows = list(range(0, len(atoms), 37))
        dense = hessian(potential, graph, atoms=rows).reshape(3 * len(rows), -1).numpy()
        chosen = [3 * a + axis for a in rows for axis in range(3)]
        difference = np.abs(matrix.tocsr()[chosen].toarray() - dense).max()
        row["difference_to_dense"] = float(difference / np.abs(dense).max())
    return row


JOBS = {"hundred": hundred_atoms, "batches": batches, "sparse": sparse}
"""Measured in a process of their own, whose memory has not been used before."""


def _potential(elements: tuple[int, ...], cutoff: float, **settings: Any) -> Any:
    settings |= {"lmax": 1, "num_layers": 2, "readout_hidden": 16, "backend": "fused"}
    return random_potential(elements, cutoff=cutoff, dtype="float64", **settings)


def _molecule(arguments: argparse.Namespace) -> Atoms:
    atoms = ase.io.read(arguments.structure, index=0)
    return Atoms(atoms.symbols, positions=atoms.positions)


def _run(python: Path | str, module: str, *options: str) -> Row:
    """Answer of a module that measures in a process of its own."""
    done = subprocess.run(
        [str(python), "-m", module, *options],
        cwd=RESULTS.parents[1],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    row: Row = json.loads(done.stdout.splitlines()[-1])
    return row


def _absolute(path: str) -> Path:
    return Path(path).absolute()


def _parse() -> argparse.Namespace:
    parser = options(__doc__, "hessians_cpu.json")
    parser.add_argument(
        "--mace", type=_absolute, help="interpreter with mace-torch 0.3.16"
    )
    parser.add_argument("--structure", type=_absolute, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=MAKERS, default=list(MAKERS))
    parser.add_argument("--sparse", type=int, nargs="+", default=[4, 6, 8])
    parts = ("peers", *JOBS)
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
