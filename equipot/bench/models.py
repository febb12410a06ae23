"""`equipot bench models`: calculators side by side, as a table, JSON and a plot."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from ase import Atoms
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from equipot.bench.calculator_process import CalculatorProcess, calculator_processes
from equipot.bench.calculator_spec import CalculatorSpec
from equipot.bench.model_comparison import CallCost, Comparison, Effort, compare
from equipot.bench.models_plot import draw_models
from equipot.bench.record import new_record, write_record
from equipot.bench.table import Row, table_of
from equipot.report.parts.svg import figure_file
from equipot.storage.atomic_file import make_folder, write_atomically
from equipot.storage.provenance import file_sha256
from equipot.system.terminal import Fitted

PROPERTIES: Final = ("energy", "forces", "stress")
"""Any of them can be measured together."""
CALLS: Final = {
    "md": "a step of velocity Verlet dynamics (ASE)",
    "hessian": "a Hessian",
}
"""What else can be measured, and its name."""


COLUMNS: Final[dict[str, tuple[str, Callable[[CallCost], object]]]] = {
    "ms": (
        "median wall-clock time with quartiles",
        lambda cost: digits(1e3 * cost.wall.median),
    ),
    "quartiles": (
        "",
        lambda cost: f"{digits(1e3 * cost.wall.low)}–{digits(1e3 * cost.wall.high)}",
    ),
    "µs/atom": ("", lambda cost: digits(1e6 * cost.wall.median / cost.num_atoms)),
    "CPU ms": (
        "CPU time of all threads",
        lambda cost: digits(1e3 * cost.cpu.median),
    ),
    "× first": (
        "wall-clock time over that of the first calculator",
        lambda cost: digits(cost.relative.median),
    ),
    "× CPU": (
        "the same of CPU times",
        lambda cost: digits(cost.relative_cpu.median),
    ),
    "ΔF": (
        "largest difference of a force from the first in meV/Å",
        lambda cost: (
            None
            if cost.max_force_difference is None
            else 1e3 * cost.max_force_difference
        ),
    ),
    "faults": (
        "page faults per call",
        lambda cost: round(cost.minor_faults + cost.major_faults),
    ),
    "peak": ("peak memory in MB", lambda cost: round(cost.peak_bytes / 1e6)),
    "before": (
        "memory of the process before the structure",
        lambda cost: round(cost.loaded_bytes / 1e6),
    ),
}
"""Meaning and value of each column of the table."""
TIME: Final = ("ms", "quartiles", "µs/atom", "CPU ms")
BETWEEN: Final = ("× first", "× CPU", "ΔF")
"""Columns that compare two calculators."""
MEMORY: Final = ("faults", "peak", "before")


def digits(value: float) -> str:
    """Three digits, or an integer."""
    return f"{value:.0f}" if value >= 1000 else f"{value:#.3g}".rstrip(".")


def parse_what(text: str) -> tuple[str, ...]:
    """Properties of ``--what``, or ``md``, or ``hessian``.

    Raises:
        ValueError: If it is none of them.
    """
    names = tuple(text.split(","))
    if text in CALLS or set(names) <= set(PROPERTIES):
        return names
    raise ValueError(
        f"--what {text}: expected md, hessian, or some of {','.join(PROPERTIES)} "
        "separated by commas"
    )


def run_models(
    specs: Sequence[CalculatorSpec],
    structures: Mapping[str, Atoms],
    what: Sequence[str],
    effort: Effort,
    *,
    threads: int,
    json: Path | None = None,
    plot: Path | None = None,
) -> Comparison:
    """Measure calculators in turn, print a table, and write files.

    Args:
        specs: Calculators; the first is the reference.
        structures: Structures by name.
        what: See `parse_what`.
        effort: How long to measure.
        threads: Number of threads of each calculator.
        json: File for all results.
        plot: SVG file.

    Raises:
        ValueError: If a calculator cannot be made, or none computes any structure.
    """
    screen, messages = Console(), Console(stderr=True)
    settings = {"what": list(what), "threads": threads, **asdict(effort)}
    record = new_record(settings, messages)
    with (
        calculator_processes(specs, threads) as processes,
        messages.status("starting") as status,
    ):
        record["calculators"] = [built(each, status.update) for each in processes]
        found = compare(processes, structures, what, effort, status.update)
    if not found.costs:
        reasons = "\n".join(f"{f.structure}: {f.reason}" for f in found.failures)
        raise ValueError(f"no structure could be computed\n{reasons}")
    call = CALLS.get(what[0], ", ".join(what))
    columns = shown_columns(found)
    meanings = "; ".join(filter(None, columns.values()))
    screen.print(f"{call}, {counted(threads)}: {meanings}\n")
    groups = [[n for n in columns if n in group] for group in (TIME, BETWEEN, MEMORY)]
    whole, *parts = (
        table_of("", list(rows(found, names)))
        for names in (list(columns), *filter(None, groups))
    )
    screen.print(Padding(Fitted(whole, parts), (0, 0, 1, 0)))
    for failure in found.failures:
        screen.print(f"[yellow]![/] {escape(f'{failure.structure}: {failure.reason}')}")
    if json is not None:
        write_record(json, record | asdict(found), screen)
    if plot is not None:
        make_folder(plot.parent)
        drawing = figure_file(draw_models, (5.0, 3.6), costs=found.costs, call=call)
        write_atomically(plot, drawing.encode())
        screen.print(f"wrote {escape(str(plot))}", soft_wrap=True)
    return found


def shown_columns(found: Comparison) -> dict[str, str]:
    """Names and meanings of the columns that have values."""
    several = len({cost.calculator for cost in found.costs}) > 1
    return {
        name: meaning
        for name, (meaning, value) in COLUMNS.items()
        if (several or name not in BETWEEN)
        and any(value(cost) is not None for cost in found.costs)
    }


def rows(found: Comparison, names: Sequence[str]) -> Iterator[Row]:
    """Rows of a table with some of `COLUMNS`."""
    for cost in found.costs:
        yield {
            "structure": f"{cost.structure}, {cost.num_atoms} atoms",
            "calculator": cost.calculator,
            **{name: COLUMNS[name][1](cost) for name in names},
        }


def counted(threads: int) -> str:
    """Such as ``1 thread``."""
    return f"{threads} thread{'' if threads == 1 else 's'}"


def built(
    process: CalculatorProcess, progress: Callable[[str], None]
) -> dict[str, object]:
    """Make a calculator; what a record contains of it."""
    spec = process.spec
    progress(f"making {spec.label}")
    return {
        "label": spec.label,
        "factory": f"{spec.module}:{spec.factory}",
        "arguments": {key: _identity(value) for key, value in spec.arguments.items()},
        **process.build(),
    }


def _identity(value: Any) -> Any:
    """Name and hash of a file, without folders; other values unchanged."""
    if isinstance(value, list):
        return [_identity(entry) for entry in value]
    if isinstance(value, str) and (file := Path(value)).is_file():
        return {"file": file.name, "sha256": file_sha256(file)}
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value
