"""`equipot plan`: cost of dynamics of large systems, as a table and JSON."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from ase import Atoms
from rich.console import Console
from rich.padding import Padding

from equipot.bench.calculator_process import CalculatorProcess, calculator_processes
from equipot.bench.calculator_spec import CalculatorSpec
from equipot.bench.model_comparison import CallCost, Effort, compare
from equipot.bench.models import built, counted, digits
from equipot.bench.plan import Plan, measure_samples
from equipot.bench.record import new_record, write_record
from equipot.bench.similar_structures import (
    MIN_ATOMS,
    num_edges,
    similar_structures,
)
from equipot.bench.table import Row, table_of
from equipot.system.hardware import available_memory
from equipot.system.terminal import Fitted

EFFORT: Final = Effort(rounds=5, seconds=1.5)
"""For each size."""
DECADES: Final = (10**3, 10**4, 10**5, 10**6)
"""Numbers of atoms that are shown by default, as far as they fit."""


MAX_ERROR: Final = 0.5
"""Relative error beyond which the command suggests to measure more."""


def run_plan(
    spec: CalculatorSpec,
    structure: Atoms,
    cutoff: float,
    *,
    atoms: Sequence[int] = (),
    timestep: float,
    threads: int,
    seconds: float,
    json: Path | None = None,
) -> Plan:
    """Measure small systems, print the costs of large ones, and write JSON.

    Args:
        spec: Calculator.
        structure: System, or the cell of a larger one.
        cutoff: Cutoff radius of the model in Å.
        atoms: Numbers of atoms to predict.
        timestep: In fs.
        threads: Number of threads.
        seconds: Time for the measurements.
        json: File for all results.

    Raises:
        ValueError: If the model cannot compute the structure, or no atom has a
            neighbor.
    """
    edges_per_atom = num_edges(structure, cutoff) / len(structure)
    if edges_per_atom == 0:
        raise ValueError("the structure has no two atoms closer than the cutoff")
    screen, messages = Console(), Console(stderr=True)
    settings = {"threads": threads, "timestep": timestep, "seconds": seconds}
    record = new_record(settings, messages)
    available = available_memory()
    with (
        calculator_processes([spec], threads) as (process,),
        messages.status("loading the model") as status,
    ):
        record["calculator"] = built(process, status.update)

        def measure(system: Atoms) -> CallCost:
            status.update(f"measuring {len(system)} atoms")
            return _cost(process, system)

        samples = measure_samples(
            similar_structures(structure, cutoff),
            measure,
            lambda system: num_edges(system, cutoff),
            available=available,
            seconds=seconds,
        )
    plan = Plan(samples, edges_per_atom)
    fits = plan.atoms_that_fit(available)
    sizes = sorted(atoms or _default_sizes(structure, fits))
    largest = plan.samples[-1]
    screen.print(
        f"steps of dynamics with a neighbor search in each, {counted(threads)}; "
        f"{len(samples)} systems of {samples[0].num_atoms} to {largest.num_atoms} "
        f"atoms were measured, with {plan.edges_per_atom:.0f} neighbors per atom"
    )
    table = table_of("", list(rows(plan, sizes, timestep)))
    screen.print(Padding(Fitted(table), (0, 0, 1, 0)))
    screen.print(_room(fits, largest.num_atoms, available))
    found = plan.forecast(max(sizes))
    if max(found.seconds_error, found.peak_error) > MAX_ERROR:
        screen.print(
            "[yellow]![/] the expected errors are large: measure larger systems with "
            "--seconds, on an idle machine"
        )
    if json is not None:
        content = {
            "available_bytes": available,
            "atoms_that_fit": fits,
            "samples": [asdict(sample) for sample in plan.samples],
            "forecasts": [asdict(plan.forecast(size)) for size in sizes],
        }
        write_record(json, record | content, screen)
    return plan


def rows(plan: Plan, sizes: Sequence[int], timestep: float) -> Iterator[Row]:
    """Rows of the table.

    Args:
        plan: Measurements.
        sizes: Numbers of atoms.
        timestep: In fs.
    """
    for size in sizes:
        found = plan.forecast(size)
        yield {
            "atoms": size,
            "ms/step": digits(1e3 * found.seconds),
            "ns/day": found.nanoseconds_per_day(timestep),
            "±time": percent(found.seconds_error),
            "GB": found.peak_bytes / 1e9,
            "±memory": percent(found.peak_error),
        }


def percent(error: float) -> str:
    """Relative error; one beyond 100 % has no digits."""
    return f"{100 * error:.0f} %" if error <= 1 else "> 100 %"


def _cost(process: CalculatorProcess, system: Atoms) -> CallCost:
    """Cost of what `equipot md` computes in a step."""
    what = ["energy", "forces", "stress"][: 3 if system.pbc.all() else 2]
    found = compare([process], {"structure": system}, what, EFFORT)
    if found.failures:
        raise ValueError(found.failures[0].reason)
    return found.costs[0]


def _default_sizes(structure: Atoms, fits: int | None) -> set[int]:
    """Decades that fit, and the size of the structure unless it is a small cell."""
    sizes = {n for n in DECADES if fits is None or n <= fits}
    small = structure.pbc.any() and len(structure) < MIN_ATOMS
    return sizes if small else sizes | {len(structure)}


def _room(fits: int | None, largest: int, available: int) -> str:
    free = f"{available / 1e9:.1f} GB of free memory"
    if fits is None:
        return f"memory does not grow up to {largest} atoms; {free}"
    return f"about {float(f'{fits:.2g}'):,.0f} atoms fit into {free}"
