"""Elements, ranges and distances of a training set, beside those of an evaluation."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ase.data import chemical_symbols

from equipot.data.pairs import overall_minimum
from equipot.report.parts.numbers import grouped, shown
from equipot.report.parts.page import Cell, Table, flagged

ENERGY_ZERO = {
    "isolated_atoms": "relative to isolated atoms",
    "given": "relative to the reference energies of the configuration",
    "none": "in total",
    "converted": "relative to the reference energies of the original",
}
"""Zero of energies by source of the reference energies."""


def facts(statistics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Names and texts of what is known of a training set.

    Args:
        statistics: Of a header.
    """
    counts = statistics.get("element_counts") or {}
    symbols = [chemical_symbols[z] for z in statistics.get("elements", ())]
    names = (
        f"{symbol} ({grouped(counts[symbol])} atoms)" if symbol in counts else symbol
        for symbol in symbols
    )
    types = statistics.get("config_types") or {}
    size = (
        f"{grouped(statistics['num_structures'])} structures, "
        f"{grouped(statistics['num_atoms'])} atoms"
        if statistics.get("num_structures")
        else "not known"
    )
    return [
        ("Elements", ", ".join(names)),
        ("Training set", size),
        ("Config types", ", ".join(f"{k} ({grouped(n)})" for k, n in types.items())),
        *ranges(statistics),
    ]


def ranges(statistics: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each range of a training set that is known.

    Args:
        statistics: Of a header.
    """
    neighbors = statistics.get("neighbor_ranges") or {}
    if neighbors:
        parts = (f"{z} {low} to {high}" for z, (low, high) in neighbors.items())
        yield "Neighbors", ", ".join(parts)
    source = str(statistics.get("reference_source", ""))
    zero = ENERGY_ZERO.get(source, "relative to fitted reference energies")
    spans = (
        ("Density", "density_range", ".4f", "atoms/Å^3"),
        ("Energy", "energy_range", ".3f", f"eV/atom {zero}"),
    )
    for name, key, form, unit in spans:
        if (span := statistics.get(key)) is not None:
            yield name, f"{span[0]:{form}} to {span[1]:{form}} {unit}"
    if (force := statistics.get("largest_force")) is not None:
        yield "Largest force", f"{force:.3g} eV/Å"


def distances(
    limits: Mapping[str, float], closest: Sequence[Mapping[str, float]]
) -> Table | None:
    """Shortest distances by pair of elements, those outside of the domain first.

    Args:
        limits: Shortest distances of the training set in Å; empty if not known.
        closest: Those of each structure of an evaluation.
    """
    here = overall_minimum(closest)
    rows = [
        (pair, limits.get(pair), here.get(pair), _state(pair, limits, here))
        for pair in sorted(set(limits) | set(here))
    ]
    rows.sort(key=lambda row: row[3] in {"within", "not here", "unknown"})
    head = ("Pair", "In training", "Here", "State")
    title = "Shortest distances of pairs of elements, in Å"
    return Table(title, head, rows, sortable=True) if rows else None


def _state(pair: str, limits: Mapping[str, float], here: Mapping[str, float]) -> Cell:
    if pair not in here:
        return "not here"
    if pair not in limits:
        return flagged("new pair") if limits else "unknown"
    if here[pair] < limits[pair]:
        return flagged(f"closer by {shown(100 * (1 - here[pair] / limits[pair]))} %")
    return "within"
