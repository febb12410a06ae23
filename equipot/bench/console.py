"""The findings as tables for a terminal."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from equipot.bench.conclusions import conclusions
from equipot.bench.growth import growths
from equipot.bench.measure import Ability, Cost, Result
from equipot.bench.steps import STEPS
from equipot.report.parts.numbers import shown
from equipot.system.terminal import Fitted
from equipot.tensor_products import Path

BELOW = (0, 0, 1, 0)
"""An empty line under a table."""
MOST_PATHS = 4
"""Impossible couplings that are listed; the page lists all."""
WORK = ("error", "operations", "in matrices", "bytes", "memory")


def summary(result: Result) -> Iterator[RenderableType]:
    """What `equipot bench tensor-products` prints."""
    yield Padding(Fitted(_abilities(result.abilities)), BELOW)
    for channels in result.settings.channels:
        own = [cost for cost in result.costs if cost.channels == channels]
        yield Padding(Fitted(_work(own)), BELOW)
        for step in STEPS:
            yield Padding(Fitted(_times(own, step, result.settings.edges)), BELOW)
        if len(result.settings.lmax) > 1:
            yield Padding(Fitted(_growths(own)), BELOW)
    for name, reason in result.absent.items():
        yield f"[yellow]![/] {escape(f'{name} is left out: {reason}')}"
    for sentence in conclusions(result):
        yield f"• {escape(sentence)}"


def names_of(paths: Sequence[Path], most: int | None = None) -> str:
    """Couplings such as ``1x1→1``, all of them or the first few."""
    names = [f"{p.l_in}x{p.l_filter}→{p.l_out}" for p in paths[:most]]
    if most is not None and len(paths) > most:
        names.append(f"and {len(paths) - most} more")
    return ", ".join(names) or "none"


def _abilities(abilities: Sequence[Ability]) -> Table:
    table = _table(
        ["product"],
        ["lmax", "possible\ncouplings", "free, one\nchannel", "free,\nmixed", "of n"],
        "Couplings that can occur, and how many of them are independent with one "
        "channel and with n mixed channels",
    )
    table.add_column("impossible", overflow="fold")
    for a in abilities:
        found = a.expressivity
        total = len(found.interacting) + len(found.impossible)
        table.add_row(
            a.family,
            str(a.lmax),
            f"{len(found.interacting)} of {total}",
            str(found.single),
            str(found.mixed),
            str(found.channels),
            names_of(found.impossible, MOST_PATHS),
        )
    return table


def _work(costs: Sequence[Cost]) -> Table:
    """Errors, operations and traffic at the highest degree."""
    lmax = max(cost.lmax for cost in costs)
    table = _table(
        ["product", "backend"],
        WORK,
        f"lmax {lmax}, {costs[0].channels} channels: error in float64 relative to the "
        "reference; operations of the algorithm, those that PyTorch counts in "
        "matrices, and bytes moved, per edge and channel, forward; peak memory of a "
        "double backward in MB",
    )
    previous = ""
    for cost in (c for c in costs if c.lmax == lmax):
        table.add_row(
            cost.family if cost.family != previous else "",
            cost.backend,
            f"{cost.error:.0e}",
            "–" if cost.operations is None else str(cost.operations.count),
            f"{cost.executed:.0f}",
            f"{cost.moved:.0f}",
            shown(cost.memory["double backward"] / 1e6),
        )
        previous = cost.family
    return table


def _times(costs: Sequence[Cost], step: str, edges: int) -> Table:
    """Times of one step, a column for each degree."""
    degrees = sorted({cost.lmax for cost in costs})
    table = _table(
        ["product", "backend"],
        [f"lmax {lmax}" for lmax in degrees],
        f"{step.capitalize()}, {costs[0].channels} channels: µs per edge, median",
    )
    previous = ""
    for family, backend in dict.fromkeys((c.family, c.backend) for c in costs):
        own = {c.lmax: c for c in costs if (c.family, c.backend) == (family, backend)}
        table.add_row(
            family if family != previous else "",
            backend,
            *(
                shown(1e6 * own[n].times[step].median / edges) if n in own else "–"
                for n in degrees
            ),
        )
        previous = family
    return table


def _growths(costs: Sequence[Cost]) -> Table:
    """Exponents on paper and as measured."""
    degrees = sorted({cost.lmax for cost in costs})
    table = _table(
        ["product", "backend"],
        ["limit", "operations", *(step.replace(" + ", "\n+ ") for step in STEPS)],
        f"Exponents of lmax, {costs[0].channels} channels: of operations in the limit, "
        f"of operations and of times from lmax {degrees[0]} to {degrees[-1]}",
    )
    previous = ""
    for law in growths(costs):
        table.add_row(
            law.family if law.family != previous else "",
            law.backend,
            "–" if law.limit is None else str(law.limit),
            "–" if law.operations is None else f"{law.operations:.1f}",
            *(f"{law.times[step]:.1f}" for step in STEPS),
        )
        previous = law.family
    return table


def _table(texts: Sequence[str], numbers: Sequence[str], title: str) -> Table:
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for head in texts:
        table.add_column(head, no_wrap=True)
    for head in numbers:
        table.add_column(head, justify="right", no_wrap=True)
    return table
