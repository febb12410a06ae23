"""Speed of the convolution on the CPU, against e3nn and cuEquivariance.

python scripts/benchmark_tensor_products.py [--cases 1x64 2x64 3x128 6x64]
    [--graphs molecules crystal] [--variants NAME ...] [--sections NAME ...]
    [--threads 2] [--rounds 9] [--seconds 60] [--concat] [--compiled]
    [--max-edges 1000000] [--json FILE]

All variants compute the same channelwise product with per-path weights, in one
process and in turns; that they agree is checked before anything is timed. The spherical
grid has weights per degree: another operation, for comparison. Variants that are given
harmonics are differentiated by them; the others compute harmonics or rotations from
directions, which they are differentiated by, and so do more.

Speed against e3nn is the median over the rounds of the ratio of times within a round.
Run it on an idle machine, with the compiled ops built: python cuda_ext/build.py cpu.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from tensor_product_peers import (
    Variant,
    channelwise_cuequivariance,
    e3nn_variants,
    ours,
)
from tensor_product_targets import (
    ARITHMETIC_TARGET,
    CASES,
    THREADS_TARGET,
    Verdict,
    compared_with_targets,
)
from torch import Tensor

from equipot.bench.exactness import random_operands
from equipot.bench.floors import STEP_KERNELS, floor, step_seconds
from equipot.bench.graphs import Edges, crystal, molecules
from equipot.bench.machine import bytes_per_second, operations_per_second
from equipot.bench.memory import peak_memory
from equipot.bench.record import busy
from equipot.bench.steps import STEPS, Operands, bind, forward_backward
from equipot.bench.timing import summarize, take_turns
from equipot.ops import library
from equipot.so3 import spherical_harmonics
from equipot.storage.atomic_file import write_json
from equipot.system.environment import describe_environment
from equipot.tensor_products import ClebschGordan, TensorProductSpec

RESULTS = Path(__file__).parents[1] / "benchmarks/results/tensor_products_cpu.json"
GRAPHS: dict[str, Callable[[], Edges]] = {
    "molecules": lambda: molecules(4),
    "crystal": lambda: crystal((2, 2, 3)),
}
SECTIONS = ("comparison", "arithmetic", "threads", "edges")
LARGE = ("2x64", "crystal")
"""Case whose number of edges is raised."""
CUBES = ((2, 2, 3), (4, 4, 6), (8, 8, 12), (14, 20, 21))
"""Sizes of the crystal: 2,000 to a million edges."""


def main() -> None:
    """Measure, print tables, write JSON."""
    arguments = _parse()
    torch.set_num_threads(arguments.threads)
    screen = Console(width=160)
    record: dict[str, Any] = {
        "environment": describe_environment(),
        "compiled": _compiled(),
        "num_threads": arguments.threads,
        "concat": arguments.concat,
    }
    if (warning := busy()) is not None:
        screen.print(f"[yellow]![/] {warning}")
        record["warning"] = warning
    screen.print(f"compiled ops: {record['compiled']}")
    verdicts: list[Verdict] = []
    if "comparison" in arguments.sections:
        record["comparison"] = []
        for case in arguments.cases:
            for graph in arguments.graphs:
                found = compare(case, graph, arguments)
                record["comparison"].append(found)
                verdicts += compared_with_targets(found)
                screen.print(comparison_table(found))
    sections = {"arithmetic": arithmetic, "threads": threads, "edges": scaling}
    for name, section in sections.items():
        if name in arguments.sections:
            record[name] = section(arguments)
            verdicts += record[name].pop("verdicts")
            screen.print(_plain_table(name, record[name]["rows"]))
    record["verdicts"] = [{**asdict(v), "passed": v.passed} for v in verdicts]
    for verdict in verdicts:
        screen.print(str(verdict), style=None if verdict.passed else "red")
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(arguments.json, record)
    screen.print(f"wrote {arguments.json}")


def compare(case: str, graph: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Times of all variants for one case.

    Returns:
        Times in µs per edge by step and variant, speed against e3nn, distance from the
        floor, and errors; ready for JSON.
    """
    lmax, channels = CASES[case]
    edges = GRAPHS[graph]()
    accumulate = "concat" if arguments.concat else "sum"
    spec = TensorProductSpec(lmax, lmax, lmax, accumulate=accumulate)
    variants = [
        variant
        for variant in all_variants(spec, edges, channels, arguments.compiled)
        if arguments.variants is None or variant.name in (*arguments.variants, "e3nn")
    ]
    operands = {
        v.name: operands_of(v, edges, channels, torch.float32) for v in variants
    }
    errors = {v.name: check(v, edges, operands[v.name]) for v in variants}
    samples = time_steps(variants, operands, arguments)
    rates = {"operations_per_second": operations_per_second(torch.float32)}
    steps = {}
    for step, times in samples.items():
        size = sum(
            floor(kernel, spec, edges.connectivity, channels, 4).bytes
            for kernel in STEP_KERNELS[step]
        )
        rates["bytes_per_second"] = bytes_per_second(int(size))
        least = step_seconds(step, spec, edges.connectivity, channels, 4, **rates)
        steps[step] = {
            name: describe(own, times["e3nn"], least, len(edges.directions))
            for name, own in times.items()
        }
    return {
        "case": case,
        "graph": graph,
        "edges": len(edges.directions),
        "nodes": edges.connectivity.num_nodes,
        "rates": rates,
        "errors": errors,
        "steps": steps,
    }


def time_steps(
    variants: Sequence[Variant],
    operands: dict[str, Operands],
    arguments: argparse.Namespace,
) -> dict[str, dict[str, list[float]]]:
    """Samples in seconds by step and variant; all take turns."""
    calls = {
        (step, v.name): partial(function, v.convolution, operands[v.name])
        for step, function in STEPS.items()
        for v in variants
        if step != "double backward" or v.differentiates_twice
    }
    samples = take_turns(
        {f"{step}/{name}": call for (step, name), call in calls.items()},
        rounds=arguments.rounds,
        seconds=arguments.seconds,
    )
    return {
        step: {name: samples[f"{step}/{name}"] for s, name in calls if s == step}
        for step in STEPS
    }


def all_variants(
    spec: TensorProductSpec, edges: Edges, channels: int, compiled: bool
) -> Iterator[Variant]:
    """Everyone who can compute a product, and the spherical grid with its own."""
    dtype = torch.float32
    yield from ours(spec, edges, channels, dtype)
    yield from e3nn_variants(spec, edges, channels, dtype, compiled=compiled)
    yield from channelwise_cuequivariance(spec, edges, channels, dtype)
    gaunt = TensorProductSpec(
        spec.lmax_in, spec.lmax_filter, spec.lmax_out, weighting="per_degree"
    )
    yield from (
        v for v in ours(gaunt, edges, channels, dtype) if v.name == "spherical_grid"
    )


def operands_of(
    variant: Variant, edges: Edges, channels: int, dtype: torch.dtype
) -> Operands:
    """Random operands in the layout of a variant; the same for all."""
    x, weights = random_operands(variant.spec, edges.connectivity, channels)
    geometry = edges.directions
    if variant.takes_harmonics:
        geometry = spherical_harmonics(variant.spec.lmax_filter, edges.directions)
    own = variant.to_own(x).to(dtype), geometry.to(dtype), weights.to(dtype)
    with torch.no_grad():
        messages = variant.convolution(*own)
    cotangent = torch.randn(
        messages.shape, generator=torch.Generator().manual_seed(1), dtype=dtype
    )
    return Operands(*own, cotangent)


def check(variant: Variant, edges: Edges, operands: Operands) -> dict[str, float]:
    """Deviation of a variant from the reference in float64, relative.

    Returns:
        Of the messages and of the gradients by the weights, which have the same layout
        in all variants.

    Raises:
        SystemExit: If it computes something else.
    """
    channels = operands.weights.shape[2]
    x, weights = random_operands(variant.spec, edges.connectivity, channels)
    reference = bind(ClebschGordan(variant.spec), edges.connectivity)
    exact = x, edges.directions, weights
    with torch.no_grad():
        messages = reference(*exact)
        found = variant.from_own(variant.convolution(*operands[:3])).double()
    cotangent = variant.from_own(operands.cotangent).double()
    *_, expected = forward_backward(reference, Operands(*exact, cotangent))
    *_, by_weights = forward_backward(variant.convolution, operands)
    errors = {
        "messages": _deviation(found, messages),
        "gradient by weights": _deviation(by_weights.double(), expected),
    }
    if max(errors.values()) > 1e-5:  # rounding gives 1e-6 at lmax 6
        raise SystemExit(f"{variant.name} computes something else: {errors}")
    return errors


def describe(
    times: Sequence[float], e3nn: Sequence[float], least: float, edges: int
) -> dict[str, Any]:
    """Times of one variant in µs per edge, beside e3nn and the floor."""
    timing = summarize(times)
    scale = 1e6 / edges
    return {
        "median_us": scale * timing.median,
        "quartiles_us": [scale * timing.low, scale * timing.high],
        "samples": timing.samples,
        "speed_vs_e3nn": speed(times, e3nn),
        "floor_us": scale * least,
        "times_floor": timing.median / least,
    }


def speed(times: Sequence[float], reference: Sequence[float]) -> float:
    """How much faster than a reference: median ratio of times within a round."""
    return median(r / t for t, r in zip(times, reference, strict=True))


def arithmetic(arguments: argparse.Namespace) -> dict[str, Any]:
    """Speed of `fused` in float64, with float32 as unit."""
    rows, verdicts = [], []
    for case in arguments.cases:
        lmax, channels = CASES[case]
        edges = GRAPHS["molecules"]()
        calls = {}
        for dtype in (torch.float32, torch.float64):
            fused = _fused(lmax, edges, channels, dtype)
            operands = operands_of(fused, edges, channels, dtype)
            for step, function in STEPS.items():
                call = partial(function, fused.convolution, operands)
                calls[f"{step}/{dtype}"] = call
        samples = take_turns(calls, rounds=arguments.rounds, seconds=arguments.seconds)
        for step in STEPS:
            single, double = (
                samples[f"{step}/{dtype}"] for dtype in (torch.float32, torch.float64)
            )
            ratio = speed(double, single)
            row = {"case": case, "step": step, "float64_speed": ratio}
            rows.append(row)
            what = f"{case}, {step}, float64 with float32 as unit"
            verdicts.append(Verdict(what, ratio, ARITHMETIC_TARGET))
    return {"rows": rows, "verdicts": verdicts}


def threads(arguments: argparse.Namespace) -> dict[str, Any]:
    """Speed of `fused` with two threads, with one as unit.

    Threads are changed in blocks of rounds, as a change makes and ends threads.
    """
    rows, verdicts = [], []
    for case in arguments.cases:
        lmax, channels = CASES[case]
        edges = GRAPHS["molecules"]()
        fused = _fused(lmax, edges, channels, torch.float32)
        operands = operands_of(fused, edges, channels, torch.float32)
        calls = {
            step: partial(function, fused.convolution, operands)
            for step, function in STEPS.items()
        }
        times: dict[tuple[int, str], list[float]] = {}
        for _ in range(3):
            for count in (1, 2):
                torch.set_num_threads(count)
                block = take_turns(calls, rounds=max(3, arguments.rounds // 3))
                for step, samples in block.items():
                    times.setdefault((count, step), []).extend(samples)
        torch.set_num_threads(arguments.threads)
        for step in STEPS:
            ratio = median(times[1, step]) / median(times[2, step])
            rows.append({"case": case, "step": step, "two_threads_speed": ratio})
            what = f"{case}, {step}, two threads with one as unit"
            verdicts.append(Verdict(what, ratio, THREADS_TARGET))
    return {"rows": rows, "verdicts": verdicts}


def scaling(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time and memory per edge of `fused` for more and more edges."""
    case, _ = LARGE
    lmax, channels = CASES[case]
    rows: list[dict[str, Any]] = []
    for cubes in CUBES:
        edges = crystal(cubes)
        count = len(edges.directions)
        if count > 1.05 * arguments.max_edges or not _fits(rows, count):
            break
        fused = _fused(lmax, edges, channels, torch.float32)
        operands = operands_of(fused, edges, channels, torch.float32)
        held = sum(t.nbytes for t in operands)
        for step, function in STEPS.items():
            call = partial(function, fused.convolution, operands)
            peak = peak_memory(call)
            timing = summarize(
                take_turns({"": call}, rounds=arguments.rounds, seconds=10)[""]
            )
            rows.append(
                {
                    "case": case,
                    "step": step,
                    "edges": count,
                    "us_per_edge": 1e6 * timing.median / count,
                    "peak_bytes_per_edge": peak / count,
                    "operand_bytes_per_edge": held / count,
                }
            )
    return {"rows": rows, "verdicts": []}


def comparison_table(found: dict[str, Any]) -> Table:
    """Times and speeds of all variants for one case."""
    title = (
        f"{found['case']}, {found['graph']}: {found['edges']} edges, {found['nodes']} "
        f"nodes; µs per edge (quartiles), speed against e3nn, multiple of the floor"
    )
    table = Table("variant", title=title, title_justify="left", box=None)
    for step in found["steps"]:
        for head in (step, "x e3nn", "x floor"):
            table.add_column(head, justify="right")
    for name in found["errors"]:
        cells = []
        for own in found["steps"].values():
            if name not in own:
                cells += ["–"] * 3
                continue
            row = own[name]
            low, high = row["quartiles_us"]
            cells += [
                f"{row['median_us']:.3g} ({low:.3g}–{high:.3g})",
                f"{row['speed_vs_e3nn']:.3g}",
                f"{row['times_floor']:.3g}",
            ]
        table.add_row(name, *cells)
    return table


def _plain_table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=title, title_justify="left", box=None)
    for head in rows[0] if rows else ():
        table.add_column(head.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(
            *(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values())
        )
    return table


def _fused(lmax: int, edges: Edges, channels: int, dtype: torch.dtype) -> Variant:
    spec = TensorProductSpec(lmax, lmax, lmax)
    return next(v for v in ours(spec, edges, channels, dtype) if v.name == "fused")


def _fits(rows: Sequence[dict[str, Any]], edges: int) -> bool:
    """Whether memory is left for so many edges, judged by those measured before."""
    if not rows:
        return True
    most = max(r["peak_bytes_per_edge"] + r["operand_bytes_per_edge"] for r in rows)
    # operands are made in float64 first
    return 1.5 * edges * (most + rows[-1]["operand_bytes_per_edge"]) < _free_memory()


def _free_memory() -> int:
    """Bytes that can be used without taking them from others."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable"):
            return 1024 * int(line.split()[1])
    raise SystemExit("cannot find out how much memory is free; leave out 'edges'")


def _compiled() -> str:
    """What the compiled ops are, or why there are none."""
    if (reason := library.unavailable(torch.device("cpu"))) is not None:
        return reason
    return library.cpu_instruction_set()


def _deviation(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--graphs", nargs="+", choices=GRAPHS, default=list(GRAPHS))
    parser.add_argument("--variants", nargs="+", help="e3nn is always measured")
    parser.add_argument(
        "--sections", nargs="+", choices=SECTIONS, default=list(SECTIONS)
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--concat", action="store_true", help="paths are not summed")
    parser.add_argument("--compiled", action="store_true", help="e3nn compiled as well")
    parser.add_argument("--max-edges", type=int, default=1_000_000)
    parser.add_argument("--json", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
