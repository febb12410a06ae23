"""Speed of the convolution on a GPU, against the floor and against others.

    python scripts/benchmark_gpu.py [--lmax 1 2 3] [--channels 64 128]
        [--edges 50000 200000 1000000] [--json FILE]

All variants compute the same channelwise product with weights per path, in float32;
that they agree with the reference is checked before anything is timed. The floor is
the time that the bytes of operands and results take at the rate of a copy, or the
arithmetic at the rate of a product of matrices, if that is longer. Run it on an idle
GPU, after ``python cuda_ext/build.py cpu cuda``; scripts/gpu_check.py does both.
"""

import argparse
import math
import time
from collections.abc import (
    Callable,
    Container,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import gpu_peers
import torch
from rich.console import Console
from rich.table import Table
from tensor_product_peers import Variant
from tensor_product_targets import Verdict

from equipot.bench.exactness import random_operands
from equipot.bench.floors import step_seconds
from equipot.bench.graphs import Edges, crystal
from equipot.bench.steps import STEPS, Operands, bind, forward_backward
from equipot.so3 import num_components, spherical_harmonics
from equipot.storage.atomic_file import write_json
from equipot.system.environment import describe_environment
from equipot.tensor_products import ClebschGordan, TensorProductSpec

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
EDGES_OF_CUBE = 168
"""Of the crystal whose edges are measured: 4 atoms with about 42 neighbors each."""
FLOOR_TARGET = 2.0
"""How many times the floor `fused` may take."""
TOLERANCE = 1e-5
"""Relative, against the reference; rounding of float32 gives 1e-6."""
SECONDS = 0.5
"""Of timing, per variant and step."""
COPIED_BYTES = 2**30
MATRIX = 8192
HELD = {"forward": 1.3, "forward + backward": 2.5, "double backward": 7.0}
"""Memory that a step needs, in operands."""

Timer = Callable[[Callable[[], object]], list[float]]


@dataclass(frozen=True)
class Case:
    """One product on one graph."""

    lmax: int
    channels: int
    edges: int

    @property
    def spec(self) -> TensorProductSpec:
        """The product."""
        return TensorProductSpec(self.lmax, self.lmax, self.lmax)

    @property
    def operand_bytes(self) -> int:
        """Of features, harmonics, weights and messages in float32."""
        nodes = self.edges // 42
        per_node = 2 * num_components(self.lmax) * self.channels
        per_edge = self.spec.num_weights * self.channels + num_components(self.lmax)
        return 4 * (nodes * per_node + self.edges * per_edge)


@dataclass(frozen=True)
class Rates:
    """What the floor is computed from."""

    bytes_per_second: float
    """Read and written by a copy."""
    operations_per_second: float
    """Of a product of matrices in float32."""


def cases_that_fit(
    lmaxes: Iterable[int], channels: Iterable[int], edges: Iterable[int], memory: int
) -> Iterator[Case]:
    """All combinations whose forward pass fits into so many bytes."""
    counts = list(edges)
    copies = list(channels)
    for lmax in lmaxes:
        for copy in copies:
            for count in counts:
                case = Case(lmax, copy, count)
                if HELD["forward"] * case.operand_bytes < memory:
                    yield case


def cubes(edges: int) -> tuple[int, int, int]:
    """Repeats of the crystal's cell for about so many edges, as cubic as can be."""
    cells = max(1, round(edges / EDGES_OF_CUBE))
    first = max(1, round(cells ** (1 / 3)))
    second = max(1, round(math.sqrt(cells / first)))
    return first, second, max(1, round(cells / (first * second)))


def measure(case: Case, device: torch.device, timer: Timer, rates: Rates) -> dict:
    """Times of all variants, ready for JSON: in ms, by step and variant."""
    graph = crystal(cubes(case.edges))
    errors = check(case, device)
    wrong = {name for name, e in errors.items() if not max(e.values()) < TOLERANCE}
    if "fused" in wrong:
        raise SystemExit(f"fused computes something else: {errors['fused']}")
    edges = gpu_peers.on_device(graph, device)
    steps: dict[str, dict[str, Any]] = {}
    for step in STEPS:
        least = step_seconds(
            step, case.spec, graph.connectivity, case.channels, 4, **asdict(rates)
        )
        own = time_step(step, case, edges, timer, wrong)
        steps[step] = {name: describe(times, least) for name, times in own.items()}
    return {
        "lmax": case.lmax,
        "channels": case.channels,
        "edges": graph.connectivity.num_edges,
        "nodes": graph.connectivity.num_nodes,
        "errors": errors,
        "steps": steps,
    }


def check(case: Case, device: torch.device) -> dict[str, dict[str, float]]:
    """Deviation of all variants from the reference, on a few edges, relative."""
    graph = crystal((2, 2, 2))
    x, weights = random_operands(case.spec, graph.connectivity, case.channels)
    reference = bind(ClebschGordan(case.spec), graph.connectivity)
    exact = x, graph.directions, weights
    expected = reference(*exact)
    cotangent = torch.randn(expected.shape, dtype=torch.float64)
    *_, by_weights = forward_backward(reference, Operands(*exact, cotangent))
    y = spherical_harmonics(case.lmax, graph.directions)
    errors = {}
    on_device = gpu_peers.on_device(graph, device)
    for variant in gpu_peers.variants(
        case.spec, on_device, case.channels, torch.float32
    ):
        own = [t.float().to(device) for t in (variant.to_own(x), y, weights)]
        found = variant.from_own(variant.convolution(*own))
        operands = Operands(*own, variant.to_own(cotangent).float().to(device))
        *_, gradient = forward_backward(variant.convolution, operands)
        errors[variant.name] = {
            "messages": _deviation(found, expected),
            "gradient by weights": _deviation(gradient, by_weights),
        }
    return errors


def time_step(
    step: str, case: Case, edges: Edges, timer: Timer, wrong: Container[str]
) -> dict[str, list[float] | str]:
    """Seconds of each variant, or why it has none.

    Args:
        step: Among `STEPS`.
        case: Product and channels.
        edges: On the device to measure.
        timer: Measures a call.
        wrong: Variants that compute something else.
    """
    found: dict[str, list[float] | str] = {}
    for variant in gpu_peers.variants(case.spec, edges, case.channels, torch.float32):
        if variant.name in wrong:
            found[variant.name] = "computes something else"
            continue
        try:
            operands = random_on_device(variant, case, edges)
            found[variant.name] = timer(
                partial(STEPS[step], variant.convolution, operands)
            )
        except torch.cuda.OutOfMemoryError:
            found[variant.name] = "out of memory"
        except RuntimeError as error:
            if variant.name == "fused":
                raise
            found[variant.name] = str(error).splitlines()[0]
        operands = None
        if edges.directions.is_cuda:
            torch.cuda.empty_cache()
    return found


def random_on_device(variant: Variant, case: Case, edges: Edges) -> Operands:
    """Normally distributed operands, made where they are used."""
    device = edges.directions.device
    nodes, sph = edges.connectivity.num_nodes, num_components(case.lmax)
    x = torch.randn(nodes, sph, case.channels, device=device)
    shape = (len(edges.directions), case.spec.num_weights, case.channels)
    weights = torch.randn(shape, device=device)
    y = spherical_harmonics(case.lmax, edges.directions.cpu()).float().to(device)
    own = variant.to_own(x)
    return Operands(own, y, weights, torch.randn_like(own))


def describe(times: list[float] | str, least: float) -> dict[str, Any]:
    """Times of a variant beside the floor, in ms."""
    if isinstance(times, str):
        return {"failed": times}
    middle = median(times)
    return {
        "median_ms": 1e3 * middle,
        "range_ms": [1e3 * min(times), 1e3 * max(times)],
        "samples": len(times),
        "floor_ms": 1e3 * least,
        "times_floor": middle / least,
    }


def verdicts(rows: Sequence[Mapping[str, Any]]) -> Iterator[Verdict]:
    """Whether `fused` is near the floor, and faster than each of the others."""
    for row in rows:
        for step, own in row["steps"].items():
            where = f"lmax {row['lmax']}, {row['channels']} channels, "
            where += f"{row['edges']} edges, {step}"
            if "median_ms" not in own.get("fused", {}):
                continue
            share = 1 / own["fused"]["times_floor"]
            yield Verdict(f"{where}: speed over the floor's", share, 1 / FLOOR_TARGET)
            for name, other in own.items():
                if name != "fused" and "median_ms" in other:
                    ratio = other["median_ms"] / own["fused"]["median_ms"]
                    yield Verdict(f"{where}: speed over {name}", ratio, 1.0)


def event_seconds(call: Callable[[], object]) -> list[float]:
    """Seconds of repeated calls on the present GPU, by its own clock."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 10 or time.perf_counter() - started < SECONDS:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / 1e3)
    return times


def rates_of(device: torch.device, timer: Timer) -> Rates:
    """Rates of a copy and of a product of matrices, measured now."""
    source = torch.randn(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    copying = median(timer(lambda: target.copy_(source)))
    a, b = (torch.randn(MATRIX, MATRIX, device=device) for _ in range(2))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        multiplying = median(timer(lambda: a @ b))
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return Rates(2 * COPIED_BYTES / copying, 2 * MATRIX**3 / multiplying)


def table(row: Mapping[str, Any]) -> Table:
    """Times of all variants for one case."""
    title = (
        f"lmax {row['lmax']}, {row['channels']} channels, {row['edges']} edges: "
        "ms, and multiples of the floor"
    )
    result = Table("variant", title=title, title_justify="left", box=None)
    for step in row["steps"]:
        result.add_column(step, justify="right")
        result.add_column("x floor", justify="right")
    for name in row["errors"]:
        cells = []
        for own in row["steps"].values():
            timing = own.get(name, {"failed": "–"})
            if "failed" in timing:
                cells += [timing["failed"], ""]
            else:
                cells.append(f"{timing['median_ms']:.3g}")
                cells.append(f"{timing['times_floor']:.2f}")
        result.add_row(name, *cells)
    return result


def require_gpu() -> torch.device:
    """The GPU to measure.

    Raises:
        SystemExit: If there is none; says what is missing.
    """
    if torch.version.cuda is None:
        raise SystemExit(
            f"PyTorch {torch.__version__} is built without CUDA: install one with it, "
            "see https://pytorch.org/get-started"
        )
    if not torch.cuda.is_available():
        raise SystemExit(
            f"PyTorch is built for CUDA {torch.version.cuda} but finds no GPU: "
            "is there one, and does nvidia-smi show it?"
        )
    return torch.device("cuda", torch.cuda.current_device())


def file_of(gpu: str) -> Path:
    """Where results of a GPU are kept."""
    return RESULTS / f"{'_'.join(gpu.lower().split())}.json"


def _deviation(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.double().cpu() - expected).abs().max() / expected.abs().max())


def main() -> None:
    """Measure, print tables, write JSON."""
    arguments = _parse()
    device = require_gpu()
    gpu = torch.cuda.get_device_properties(device)
    path = arguments.json or file_of(gpu.name)
    screen = Console(width=160)
    rates = rates_of(device, event_seconds)
    record: dict[str, Any] = {
        "environment": describe_environment(),
        "gpu": {"name": gpu.name, "memory": gpu.total_memory},
        "rates": asdict(rates),
        "missing": gpu_peers.missing(device),
        "rows": [],
    }
    free, _ = torch.cuda.mem_get_info(device)
    for case in cases_that_fit(
        arguments.lmax, arguments.channels, arguments.edges, free
    ):
        record["rows"].append(measure(case, device, event_seconds, rates))
        screen.print(table(record["rows"][-1]))
        found = list(verdicts(record["rows"]))
        record["verdicts"] = [{**asdict(v), "passed": v.passed} for v in found]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, record)  # after each case: the machine may go away
    for verdict in verdicts(record["rows"]):
        screen.print(str(verdict), style=None if verdict.passed else "red")
    screen.print(f"wrote {path}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lmax", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--channels", nargs="+", type=int, default=[64, 128])
    parser.add_argument(
        "--edges", nargs="+", type=int, default=[50_000, 200_000, 1_000_000]
    )
    parser.add_argument(
        "--json", type=Path, help="default: benchmarks/results/GPU.json"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
