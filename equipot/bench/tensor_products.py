"""`equipot bench tensor-products`: measurements as tables and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from equipot.bench.measure import Cost, Function, Result, Settings, measure
from equipot.bench.record import new_record, write_record
from equipot.bench.scaling import scaling
from equipot.bench.steps import STEPS
from equipot.bench.table import Row, table_of
from equipot.system.settings import compute_settings
from equipot.system.terminal import Fitted
from equipot.tensor_products import Path as Coupling

BELOW = (0, 0, 1, 0)
"""An empty line under a table."""
MAX_COUPLINGS = 4
"""Impossible couplings that are listed; JSON has all."""


def run_bench(
    settings: Settings, *, threads: int | None = None, json: Path | None = None
) -> Result:
    """Measure tensor products, print tables, and write JSON.

    Args:
        settings: What to measure.
        threads: Of PyTorch; None leaves them as they are.
        json: File to write; None writes nothing.
    """
    screen, messages = Console(), Console(stderr=True)
    with compute_settings(threads, deterministic=False):
        shown = asdict(settings) | {"dtype": str(settings.dtype)}
        record = new_record(shown, messages)
        with messages.status("measuring") as status:
            result = measure(settings, status.update)
    for title, rows in tables(settings, result):
        screen.print(Padding(Fitted(table_of(title, rows)), BELOW))
    for name, reason in result.absent.items():
        screen.print(f"[yellow]![/] {escape(f'{name} is not available: {reason}')}")
    if json is not None:
        write_record(json, record | asdict(result), screen)
    return result


def tables(settings: Settings, result: Result) -> Iterator[tuple[str, list[Row]]]:
    """Titles and rows of the tables."""
    yield (
        "Couplings l1 x l2 → l3: possible, independent with one channel, and "
        "independent with n mixed channels",
        [_function_row(f) for f in result.functions],
    )
    for channels in settings.channels:
        own = [cost for cost in result.costs if cost.channels == channels]
        yield (
            f"{channels} channels: deviation of couplings and messages from the "
            "reference in float64, relative; per edge "
            "and channel of the forward product, operations of the algorithm, FLOPs of "
            "matrix products, and bytes moved; peak memory of the double backward in "
            "MB; median times in µs per edge",
            [_cost_row(cost, settings.edges) for cost in _by_product(own)],
        )
        if len(settings.lmax) > 1:
            first, last = settings.lmax[0], settings.lmax[-1]
            title = f"{channels} channels: exponents k of lmax^k from {first} to {last}"
            yield f"{title}, and of the operations in the limit", scaling(own)


def coupling_names(couplings: Sequence[Coupling], most: int) -> str:
    """Couplings such as ``1x1→1``, the first few of them."""
    names = [f"{c.l_in}x{c.l_filter}→{c.l_out}" for c in couplings[:most]]
    if len(couplings) > most:
        names.append(f"and {len(couplings) - most} more")
    return ", ".join(names) or "none"


def _function_row(function: Function) -> Row:
    found = function.expressivity
    total = len(found.interacting) + len(found.impossible)
    return {
        "product": function.family,
        "lmax": function.lmax,
        "possible": f"{len(found.interacting)} of {total}",
        "1 channel": found.single,
        "mixed": found.mixed,
        "n": found.channels,
        "impossible": coupling_names(found.impossible, MAX_COUPLINGS),
    }


def _cost_row(cost: Cost, edges: int) -> Row:
    return {
        "product": cost.family,
        "backend": cost.backend,
        "lmax": cost.lmax,
        "couplings": f"{cost.coupling_error:.0e}",
        "messages": f"{cost.error:.0e}",
        "operations": None if cost.operations is None else cost.operations.count,
        "FLOPs": cost.matrix_flops,
        "bytes": cost.moved_bytes,
        "MB": cost.peak_bytes["double backward"] / 1e6,
        **{step: 1e6 * cost.times[step].median / edges for step in STEPS},
    }


def _by_product(costs: Sequence[Cost]) -> list[Cost]:
    """Costs in the order of products, then of backends, then of degrees."""
    order = list(dict.fromkeys((c.family, c.backend) for c in costs))
    return sorted(costs, key=lambda c: (order.index((c.family, c.backend)), c.lmax))
