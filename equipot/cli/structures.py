"""Options, structures and calculators of the commands on second derivatives."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Annotated, ParamSpec, TypeVar

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms

    from equipot.calculators import EquipotCalculator
    from equipot.report.parts.made import Made
    from equipot.storage.provenance import Origin

P = ParamSpec("P")
R = TypeVar("R")

Device = Annotated[str, typer.Option(help="cpu, cuda, or auto (cuda if available).")]
Dtype = Annotated[
    str, typer.Option(help="float32 or float64, recommended for second derivatives.")
]
Backend = Annotated[
    str | None,
    typer.Option(
        help="Tensor-product backend, or auto for the fastest (default: as trained)."
    ),
]
Extrapolate = Annotated[
    bool,
    typer.Option(
        "--extrapolate",
        help="Warn outside the domain of the training set instead of stopping.",
    ),
]
Force = Annotated[
    float, typer.Option("--fmax", min=1e-8, help="Force convergence threshold in eV/Å.")
]


def load_calculator(
    model: "Path", device: str, dtype: str, backend: str | None, extrapolate: bool
) -> "EquipotCalculator":
    """Calculator of a model or a committee.

    Prints the members of a committee.
    """
    from equipot.calculators import EquipotCalculator
    from equipot.cli.models import described_committee, model_files

    calculator = EquipotCalculator(
        model_files(model),
        device=device,
        dtype=dtype,
        backend=backend,
        on_extrapolation="warn" if extrapolate else "error",
        always=("forces", "stress"),
    )
    if len(calculator.models) > 1:
        typer.echo(described_committee(calculator.models))
    return calculator


def origin_of(calculator: "EquipotCalculator", *sources: str) -> "Origin":
    """Provenance of a result: models and input files.

    Args:
        calculator: Of the model or committee.
        sources: Structures as they were given to `read_structure`.
    """
    from pathlib import Path

    from equipot.storage.provenance import Origin, file_sha256

    files = [_split_index(Path(source))[0] for source in sources]
    return Origin(calculator.models, {str(f): file_sha256(f) for f in files})


def asked_committee(
    origin: "Origin",
    calculator: "EquipotCalculator",
    structures: "Mapping[str, Atoms]",
) -> "Made":
    """Compute and print the spread of a committee.

    Args:
        origin: Provenance of the result.
        calculator: Of the model or committee.
        structures: Structures by name.

    Returns:
        The origin and, of a committee, its spread at each structure.
    """
    from equipot.report.parts.made import Made
    from equipot.workflows.committee import committee_spread

    if len(origin.models) < 2:
        return Made(origin)
    found = [
        committee_spread(calculator, atoms, name) for name, atoms in structures.items()
    ]
    spreads = tuple(spread for spread in found if spread is not None)
    for spread in spreads:
        typer.echo(spread.sentence())
    return Made(origin, spreads)


def read_structure(source: str) -> "Atoms":
    """One structure of a file, the last one unless ``FILE@INDEX`` says otherwise.

    Args:
        source: Such as ``water.xyz`` or ``path.xyz@3``.

    Returns:
        All that the file says of the structure: masses, momenta, tags, charges,
        magnetic moments and further information among it; no labels.

    Raises:
        ValueError: If there is no such structure, or it cannot be read.
    """
    from pathlib import Path

    from ase.constraints import FixAtoms

    from equipot.data.reading.frames import read_frame
    from equipot.data.reading.geometry import check_geometry
    from equipot.data.reading.unclear import refuse_unclear
    from equipot.data.unlabeled import without_labels

    path, index = _split_index(Path(source))
    if path.suffix == ".safetensors":
        raise ValueError(
            f"{path} is a model, expected a structure file: the order of arguments is "
            "MODEL STRUCTURE"
        )
    found = read_frame(path, index)
    if found is None:
        raise ValueError(
            f"cannot read a structure from {source}: the file has no frame {index}"
        )
    check_geometry(found, source)
    fixed = [c for c in found.constraints if isinstance(c, FixAtoms)]
    if len(fixed) != len(found.constraints):
        raise ValueError(
            f"{source} has constraints other than fixed atoms; remove them first"
        )
    refuse_unclear(found, source)
    return without_labels(found)


def _split_index(source: "Path") -> tuple["Path", int]:
    """File and number of the frame."""
    if source.exists() or "@" not in source.name:
        return source, -1
    name, _, index = source.name.rpartition("@")
    try:
        return source.with_name(name), int(index)
    except ValueError as error:
        raise ValueError(
            f"expected one structure, FILE or FILE@INDEX with a number, got {source}"
        ) from error


def explain_calculations(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command so that a structure that cannot be computed is bad input.

    Args:
        command: May leave the domain of the potential.

    Returns:
        The command; it raises `ValueError` where ASE says that a calculation failed.
    """

    @wraps(command)
    def explained(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except RuntimeError as error:
            from ase.calculators.calculator import CalculatorError

            if not isinstance(error, CalculatorError):
                raise
            raise ValueError(f"{error} (--extrapolate here)") from error

    return explained


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Show warnings, and keep them for a report.

    Yields:
        A list that holds their texts at the end.
    """
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield texts
    for warning in caught:
        text = " ".join(str(warning.message).split())
        texts.append(text)
        typer.secho(f"warning: {text}", fg="yellow", err=True)
