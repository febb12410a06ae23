"""Speed of the convolution beside e3nn, cuEquivariance, OpenEquivariance and roofline.

    python -m benchmarks.tensor_products [--cases 1x64 2x64] [--graphs molecules 50000]
        [--variants NAME ...] [--device cpu] [--threads 1 2]

Cases are LMAXxCHANNELS; graphs are "molecules" (2358 edges), "crystal" (2060), or a
number of edges of a larger crystal. All variants compute the same channelwise product
with weights per path, in float32 unless named otherwise; each is compared with the
reference before it is timed. Only `spherical_grid` has weights per degree. Variants
that are given harmonics are differentiated by them, the others by directions.

Speed against e3nn is the median over the rounds of the ratio of times within a round.
Build the compiled ops (python cuda_ext/build.py cpu, or cpu cuda) and run it on an idle
machine.
"""

import argparse
import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from ase.build import bulk

from benchmarks.common import RESULTS, options, start
from benchmarks.peers.tensor_products import E3NN, variants
from benchmarks.roofline import roofline_seconds
from equipot.bench.graphs import Edges, edges_of, molecules
from equipot.bench.peak_memory import peak_memory
from equipot.bench.record import write_record
from equipot.bench.steps import STEPS
from equipot.bench.table import table_of
from equipot.bench.timing import interleaved_times, summarize
from equipot.bench.variants import Variant, deviation, steps_of
from equipot.graph.connectivity import Connectivity
from equipot.ops import library
from equipot.tensor_products import TensorProductSpec

EDGES_PER_CUBE = 168
"""Of the crystal: a cubic cell of 4 atoms with 42 neighbors each."""
TOLERANCE = 1e-5
"""Relative, against the reference; rounding of float32 gives 1e-6 at lmax 6."""
MAX_CHECKED_EDGES = 5000
"""Of a graph on which variants are checked; else they are on a small crystal."""

Call = Callable[[], object]


def main() -> None:
    """Measure, print tables, write JSON."""
    arguments = _parse()
    device = torch.device(arguments.device)
    screen, record = start(arguments)
    screen.width = max(screen.width, 120)
    record |= {"compiled ops": _compiled(device), "comparison": []}
    path = arguments.json or RESULTS / _file_name(device)
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        for case in arguments.cases:
            for graph in arguments.graphs:
                found = compare(case, graph, device, arguments)
                record["comparison"].append({"threads": threads} | found)
                title = f"lmax x channels {case}, {graph} ({found['edges']} edges), "
                title += f"{threads} threads; µs and peak bytes per edge"
                screen.print(table_of(title, found["rows"]))
                write_record(path, record, screen)  # after each case: it may take hours


def compare(
    case: str, graph: str, device: torch.device, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Times and memory of all variants for one case and graph.

    Returns:
        Rows by variant and step, ready for JSON: times in µs per edge and peak memory
        in bytes per edge, or why there are none.
    """
    lmax, channels = map(int, case.split("x"))
    spec = TensorProductSpec(lmax, lmax, lmax)
    edges = graph_of(graph)
    small = edges if len(edges.directions) < MAX_CHECKED_EDGES else crystal((2, 2, 2))
    wanted = None if arguments.variants is None else {*arguments.variants, E3NN}
    errors = {
        v.name: check(v, small, channels, device)
        for v in variants(spec, on_device(small, device), channels)
        if wanted is None or v.name in wanted
    }
    own = variants(spec, on_device(edges, device), channels)
    calls = steps_of((v for v in own if v.name in errors), edges, channels, device)
    failed = {
        key: "differs" if errors[key[0]] > TOLERANCE else first_failure(call, key[0])
        for key, call in calls.items()
    }
    samples = interleaved_times(
        {key: call for key, call in calls.items() if failed[key] is None},
        rounds=arguments.rounds,
        seconds=arguments.seconds,
    )
    least = {
        step: roofline_seconds(step, spec, edges.connectivity, channels, device)
        for step in STEPS
    }
    count = len(edges.directions)
    rows = {
        (name, step): describe(times, samples.get((E3NN, step)), least[step], count)
        for (name, step), times in samples.items()
    }
    if device.type == "cpu":
        for key, row in rows.items():
            row["peak"] = peak_memory(calls[key]) / count
    return {
        "case": case,
        "graph": graph,
        "edges": count,
        "nodes": edges.connectivity.num_nodes,
        "errors": errors,
        "rows": [
            {"variant": key[0], "step": key[1], **rows.get(key, {"failed": reason})}
            for key, reason in failed.items()
        ],
    }


def graph_of(name: str) -> Edges:
    """Edges by the name of a graph or by their approximate number."""
    if name == "molecules":
        return molecules(4)
    return crystal((2, 2, 3) if name == "crystal" else repeats_for(int(name)))


def crystal(repeats: tuple[int, int, int]) -> Edges:
    """Edges of a periodic cell of copper with small displacements."""
    atoms = bulk("Cu", cubic=True).repeat(repeats)
    atoms.rattle(0.05, seed=0)
    return edges_of(atoms)


def repeats_for(edges: int) -> tuple[int, int, int]:
    """Repeats of the cubic cell for about so many edges, as cubic as possible."""
    cells = max(1, round(edges / EDGES_PER_CUBE))
    first = max(1, round(cells ** (1 / 3)))
    second = max(1, round(math.sqrt(cells / first)))
    return first, second, max(1, round(cells / (first * second)))


def on_device(edges: Edges, device: torch.device) -> Edges:
    """The same edges on another device."""
    index, nodes = edges.connectivity.edge_index, edges.connectivity.num_nodes
    return Edges(edges.directions.to(device), Connectivity(index.to(device), nodes))


def check(variant: Variant, edges: Edges, channels: int, device: torch.device) -> float:
    """`deviation` from the reference; `fused` may not exceed `TOLERANCE`."""
    error = deviation(variant, edges, channels, device)
    if error > TOLERANCE and variant.name.startswith("fused"):
        raise SystemExit(f"{variant.name} differs from the reference by {error:.1e}")
    return error


def first_failure(call: Call, variant: str) -> str | None:
    """Why a variant cannot be timed, found by a first call; `fused` has to succeed."""
    try:
        call()
    except torch.cuda.OutOfMemoryError:
        return "out of memory"
    except RuntimeError as error:
        if variant.startswith("fused"):
            raise
        return str(error).splitlines()[0]
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    return None


def describe(
    times: Sequence[float], e3nn: Sequence[float] | None, least: float, edges: int
) -> dict[str, Any]:
    """Times in µs per edge, beside e3nn and the roofline."""
    timing, scale = summarize(times), 1e6 / edges
    return {
        "median": scale * timing.median,
        "low": scale * timing.low,
        "high": scale * timing.high,
        "samples": timing.samples,
        "speed vs e3nn": None if e3nn is None else speed(times, e3nn),
        "roofline": scale * least,
        "x roofline": timing.median / least,
    }


def speed(times: Sequence[float], reference: Sequence[float]) -> float:
    """Speed relative to a reference: median ratio of times within a round."""
    return median(r / t for t, r in zip(times, reference, strict=True))


def _compiled(device: torch.device) -> str:
    """Instruction set of the compiled ops, or why there are none."""
    if (reason := library.unavailable(device)) is not None:
        return reason
    return "CUDA" if device.type == "cuda" else library.cpu_instruction_set()


def _file_name(device: torch.device) -> str:
    if device.type == "cpu":
        return "tensor_products_cpu.json"
    return "_".join(torch.cuda.get_device_name(device).lower().split()) + ".json"


def _parse() -> argparse.Namespace:
    parser = options(__doc__, results=None)
    default = [torch.get_num_threads()]
    parser.add_argument("--threads", type=int, nargs="+", default=default)
    cases = ["1x64", "2x64", "3x128", "6x64"]
    parser.add_argument("--cases", nargs="+", default=cases)
    parser.add_argument("--graphs", nargs="+", default=["molecules", "crystal"])
    parser.add_argument("--variants", nargs="+", help="e3nn is always measured")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=60.0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
