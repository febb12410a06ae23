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


Column = Callable[[CallCost], object]
COLUMNS: Final[dict[str, Column]] = {
    "ms": lambda cost: digits(1e3 * cost.wall.median),
    "quartiles": lambda cost: (
        f"{digits(1e3 * cost.wall.low)}–{digits(1e3 * cost.wall.high)}"
    ),
    "µs/atom": lambda cost: digits(1e6 * cost.wall.median / cost.num_atoms),
    "CPU ms": lambda cost: digits(1e3 * cost.cpu.median),
    "× first": lambda cost: digits(cost.relative.median),
    "ΔF": lambda cost: (
        None if cost.max_force_difference is None else 1e3 * cost.max_force_difference
    ),
    "faults": lambda cost: round(cost.minor_faults + cost.major_faults),
    "peak": lambda cost: round(cost.peak_bytes / 1e6),
    "before": lambda cost: round(cost.loaded_bytes / 1e6),
}
BETWEEN: Final = ("× first", "ΔF")
"""Columns that compare two calculators."""
MEMORY: Final = ("faults", "peak", "before")
"""Columns of a table of their own on a narrow terminal."""


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
        record["calculators"] = [_built(each, status.update) for each in processes]
        found = compare(processes, structures, what, effort, status.update)
    if not found.costs:
        reasons = "\n".join(f"{f.structure}: {f.reason}" for f in found.failures)
        raise ValueError(f"no structure could be computed\n{reasons}")
    call = CALLS.get(what[0], ", ".join(what))
    several = len({cost.calculator for cost in found.costs}) > 1
    columns = {
        name: column
        for name, column in COLUMNS.items()
        if several or name not in BETWEEN
    }
    screen.print(f"{call}, {counted(threads)}: {legend(several)}\n")
    tables = [
        table_of("", list(rows(found, part)))
        for part in (columns, *split_columns(columns))
    ]
    screen.print(Padding(Fitted(tables[0], tables[1:]), (0, 0, 1, 0)))
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


def rows(found: Comparison, columns: Mapping[str, Column]) -> Iterator[Row]:
    """Rows of a table with some of `COLUMNS`; those without a value are left out."""
    for cost in found.costs:
        values = {name: column(cost) for name, column in columns.items()}
        yield {
            "structure": f"{cost.structure}, {cost.num_atoms} atoms",
            "calculator": cost.calculator,
            **{name: value for name, value in values.items() if value is not None},
        }


def split_columns(
    columns: Mapping[str, Column],
) -> tuple[dict[str, Column], dict[str, Column]]:
    """Columns of times, and of `MEMORY`."""
    memory = {name: columns[name] for name in MEMORY}
    return {k: v for k, v in columns.items() if k not in MEMORY}, memory


def legend(several: bool) -> str:
    """Meaning of the columns.

    Args:
        several: Whether calculators are compared.
    """
    parts = [
        "median wall-clock time with quartiles",
        "CPU time of all threads",
        *(
            [
                "time over that of the first calculator",
                "largest difference of a force from it in meV/Å",
            ]
            if several
            else []
        ),
        "page faults per call",
        "peak memory of the process, and its memory before the structure, in MB",
    ]
    return "; ".join(parts)


def counted(threads: int) -> str:
    """Such as ``1 thread``."""
    return f"{threads} thread{'' if threads == 1 else 's'}"


def _built(
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
