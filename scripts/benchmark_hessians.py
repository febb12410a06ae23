"""Time and memory of Hessians: beside MACE, in batches, and for thousands of atoms.

python scripts/benchmark_hessians.py --structure FILE [--mace PYTHON] [--rounds 3]
    [--peers NAME ...] [--parts NAME ...] [--threads 2] [--sparse 4 6 8] [--json FILE]

PYTHON is the interpreter of an environment with mace-torch 0.3.16 and the same torch;
without it that comparison is left out. FILE holds a molecule of H, C, N, O and is
read with ASE. Peers have a process each and take turns; of a process,
wall time and processor time are medians without the first call, memory is the growth of
the resident memory from the built model to the peak of the first calls. Sparse cells
are silicon of n x n x n cubic cells. Run it on an idle machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from hessian_peers import SPECIES, equipot_hessian, status_bytes
from rich.console import Console
from rich.table import Table

from equipot.bench.record import busy
from equipot.config.model import NequIPConfig
from equipot.data.statistics import Statistics
from equipot.graph.atomic_graph import collate
from equipot.hessians import hessian, hessians, sparse_hessian
from equipot.models import Potential, build_potential
from equipot.neighbors import build_graph
from equipot.storage.atomic_file import write_json
from equipot.system.environment import describe_environment

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "hessians_cpu.json"
PEERS = (
    "equipot",
    "equipot-filter3",
    "mace-ell1-correlation2",
    "mace-ell1",
    "mace-ell3",
)
PREDICTIONS = """Predictions:
- beside MACE: a tenth of the time and a tenth of the memory, as a loop needs the
  graph of one force and MACE batches 16 rows;
- 100 atoms: below 1 GiB;
- 32 molecules of 9 atoms: a third of 32 single calls, where overhead dominates;
  32 of 27 atoms with 128 channels: hardly less, as arithmetic dominates;
- sparse: constant time per atom, memory in proportion to the stored blocks."""


def main() -> None:
    """Measure, print tables, write JSON."""
    arguments = _parse()
    if arguments.job:
        _answer(arguments)
        return
    screen = Console()
    if (warning := busy()) is not None:
        screen.print(f"[yellow]![/] {warning}")
    screen.print(PREDICTIONS)
    record: dict[str, Any] = {
        "environment": {
            name: fact
            for name, fact in describe_environment().items()
            if name != "command"  # it names files of this machine
        },
        "warning": warning,
        "threads": arguments.threads,
        "predictions": PREDICTIONS,
    }
    parts = {
        "peers": compare_peers,
        "hundred": lambda a: [_fresh(a, "hundred")],
        "batches": lambda a: [_fresh(a, "batch", n) for n in (0, 1)],
        "sparse": lambda a: [_fresh(a, "sparse", n) for n in a.sparse],
    }
    for name in arguments.parts:
        record[name] = parts[name](arguments)
        screen.print(_table(name, record[name]))
        write_json(arguments.json, _known(arguments.json) | record)


def _known(path: Path) -> dict[str, Any]:
    """Parts that were measured before."""
    known: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return known


def compare_peers(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Hessians of one molecule by equipot and by MACE, in turn."""
    names = [n for n in arguments.peers if arguments.mace or not n.startswith("mace")]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "molecule.xyz"
        ase.io.write(path, _molecule(arguments))
        peers = {name: _start(name, path, arguments) for name in names}
        answers: dict[str, list[dict[str, float]]] = {name: [] for name in names}
        for _ in range(arguments.rounds + 1):
            for name, process in peers.items():
                answers[name].append(_ask(name, process))
        for process in peers.values():
            process.communicate()
    rows = [
        {
            "name": name,
            "wall_s": median(a["wall"] for a in found[1:]),
            "cpu_s": median(a["cpu"] for a in found[1:]),
            "first_wall_s": found[0]["wall"],
            "memory_MB": found[-1]["growth"] / 2**20,
        }
        for name, found in answers.items()
    ]
    for row in rows:
        own = rows[1 if row["name"] == "mace-ell3" else 0]
        row["times_slower"] = row["wall_s"] / own["wall_s"]
        row["times_slower_cpu"] = row["cpu_s"] / own["cpu_s"]
        row["times_memory"] = row["memory_MB"] / own["memory_MB"]
    return rows


def hundred_atoms(_: argparse.Namespace) -> dict[str, Any]:
    """A densely packed hundred: the atoms of diamond nearest to a point."""
    crystal = bulk("C", cubic=True) * (5, 5, 5)
    centre = crystal.cell.sum(axis=0) / 2 + 0.1
    order = np.argsort(np.linalg.norm(crystal.positions - centre, axis=1))
    atoms = Atoms("C100", positions=crystal.positions[order[:100]])
    atoms.rattle(0.05, seed=0)
    function = equipot_hessian(1)
    return {"atoms": 100, "edges": build_graph(atoms, 5.0).num_edges} | _measure(
        lambda: function(atoms)
    )


def batch(arguments: argparse.Namespace) -> dict[str, Any]:
    """32 molecules at once, and each alone."""
    small = arguments.number == 0
    channels, start = (
        (32, molecule("CH3CH2OH")) if small else (128, _molecule(arguments))
    )
    potential = _potential(SPECIES, channels, 5.0, (64, 64, 64))
    graphs = []
    for seed in range(32):
        atoms = start.copy()
        atoms.rattle(0.05, seed=seed)
        graphs.append(build_graph(atoms, potential.cutoff))
    singles = graphs if small else graphs[:8]
    hessian(potential, graphs[0])
    alone = _measure(lambda: [hessian(potential, graph) for graph in singles])
    together = _measure(lambda: hessians(potential, collate(graphs)))
    factor = 32 / len(singles)
    return {
        "atoms": f"32 x {len(start)}",
        "channels": channels,
        "alone_wall_s": alone["wall_s"] * factor,
        "alone_cpu_s": alone["cpu_s"] * factor,
        "measured_alone": len(singles),
        **together,
        "share_wall": together["wall_s"] / alone["wall_s"] / factor,
        "share_cpu": together["cpu_s"] / alone["cpu_s"] / factor,
    }


def sparse(arguments: argparse.Namespace) -> dict[str, Any]:
    """All rows of a silicon cell; two layers, 16 channels, degree 1, 4 Å."""
    n = arguments.number
    atoms = bulk("Si", cubic=True) * (n, n, n)
    atoms.rattle(0.05, seed=0)
    potential = _potential((14,), 16, 4.0, (16,))
    graph = build_graph(atoms, potential.cutoff)
    sparse_hessian(potential, graph, atoms=range(8))
    result: list[Any] = []
    row = _measure(lambda: result.append(sparse_hessian(potential, graph)))
    matrix = result[0]
    row |= {
        "atoms": len(atoms),
        "ms_per_atom_cpu": 1e3 * row["cpu_s"] / len(atoms),
        "blocks_MB": (matrix.data.nbytes + matrix.indices.nbytes) / 2**20,
        "dense_MB": (3 * len(atoms)) ** 2 * 8 / 2**20,
        "KB_per_atom": row["memory_MB"] * 2**10 / len(atoms),
    }
    if n == min(arguments.sparse):
        rows = list(range(0, len(atoms), 37))
        dense = hessian(potential, graph, atoms=rows).reshape(3 * len(rows), -1).numpy()
        chosen = [3 * a + axis for a in rows for axis in range(3)]
        difference = np.abs(matrix.tocsr()[chosen].toarray() - dense).max()
        row["difference_to_dense"] = float(difference / np.abs(dense).max())
        row["dense_rows_compared"] = len(rows)
    return row


JOBS = {"hundred": hundred_atoms, "batch": batch, "sparse": sparse}


def _potential(
    elements: Sequence[int], channels: int, cutoff: float, hidden: tuple[int, ...]
) -> Potential:
    config = NequIPConfig(
        cutoff=cutoff,
        lmax=1,
        channels=channels,
        num_layers=2,
        radial_hidden=hidden,
        readout_hidden=16,
        backend="fused",
        dtype="float64",
    )
    statistics = Statistics(
        elements=tuple(elements),
        reference_energies=dict.fromkeys(elements, 0.0),
        reference_source="given",
        reference_rank=len(elements),
        energy_scale=1.0,
        energy_shift=0.0,
        average_num_neighbors=16.0,
        minimum_distances={},
        cutoff=cutoff,
        num_structures=1,
        num_atoms=1,
        num_edges=16,
        element_counts={},
        label_counts={},
        config_types={},
    )
    return build_potential(config, statistics).eval()


def _measure(call: Any) -> dict[str, float]:
    before = status_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts here
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "memory_MB": (status_bytes("VmHWM") - before) / 2**20,
    }


def _molecule(arguments: argparse.Namespace) -> Atoms:
    atoms = ase.io.read(arguments.structure, index=0)
    atoms.calc = None
    return Atoms(atoms.symbols, positions=atoms.positions)


def _start(
    name: str, structure: Path, arguments: argparse.Namespace
) -> "subprocess.Popen[str]":
    python = arguments.mace if name.startswith("mace") else sys.executable
    script = Path(__file__).parent / "hessian_peers.py"
    command = [str(python), str(script), name, str(structure)]
    return subprocess.Popen(
        [*command, "--threads", str(arguments.threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _ask(name: str, process: "subprocess.Popen[str]") -> dict[str, float]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError(f"{name} has no pipes")
    process.stdin.write("hessian\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(
            f"{name} gave no Hessian; run scripts/hessian_peers.py {name} to see why"
        )
    answer: dict[str, float] = json.loads(line)
    return answer


def _fresh(arguments: argparse.Namespace, job: str, number: int = 0) -> dict[str, Any]:
    """Run a job in a process of its own, whose memory has not been used before."""
    command = [sys.executable, __file__, "--job", job, "--number", str(number)]
    command += ["--threads", str(arguments.threads), "--structure"]
    command += [str(arguments.structure), "--sparse", *map(str, arguments.sparse)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _answer(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    print(json.dumps(JOBS[arguments.job](arguments)))


def _table(name: str, rows: Sequence[dict[str, Any]]) -> Table:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    table = Table(keys[0], *(_cell(row[keys[0]]) for row in rows), title=name)
    for key in keys[1:]:
        table.add_row(key, *(_cell(row.get(key)) for row in rows))
    return table


def _cell(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mace", type=Path, help="interpreter with mace-torch 0.3.16")
    parser.add_argument("--structure", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sparse", type=int, nargs="+", default=[4, 6, 8])
    parts = ["peers", "hundred", "batches", "sparse"]
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--job", choices=JOBS, help=argparse.SUPPRESS)
    parser.add_argument("--number", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
