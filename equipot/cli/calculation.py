"""Common start and end of the workflow commands: model, structures, provenance."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

from equipot.cli.models import described_committee, model_files
from equipot.cli.structures import (
    file_of,
    names_all,
    read_structure,
    read_structures,
)

if TYPE_CHECKING:
    from ase import Atoms

    from equipot.calculators import EquipotCalculator
    from equipot.report.parts.made import Made
    from equipot.storage.provenance import Origin
    from equipot.workflows import HessianFunction

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Calculation:
    """A model and the structures that a workflow command was given."""

    calculator: "EquipotCalculator"
    structures: "tuple[Atoms, ...]"
    """Each with the calculator."""
    origin: "Origin"
    """Hashes of models and structure files, for the results."""

    @property
    def atoms(self) -> "Atoms":
        """The first structure."""
        return self.structures[0]

    @property
    def hessian(self) -> "HessianFunction":
        """Function from a structure to its Hessian in eV/Å^2."""
        from equipot.workflows import model_hessian

        return model_hessian(self.calculator)

    def crystal(self, purpose: str, *, needs_volume: bool = False) -> "Atoms":
        """The first structure, if it is a crystal.

        Args:
            purpose: Property to compute, for the error.
            needs_volume: Whether it must be periodic in three directions.

        Raises:
            ValueError: If it is not.
        """
        from equipot.workflows.crystal import check_crystal

        cutoff = self.calculator.potential.cutoff
        check_crystal(self.atoms, purpose, cutoff=cutoff, needs_volume=needs_volume)
        return self.atoms

    def made(self, structures: "Mapping[str, Atoms]") -> "Made":
        """Provenance of the results, with the spread of a committee, which is printed.

        Args:
            structures: Structures at which to evaluate the spread, by description.
        """
        from equipot.report.parts.made import Made
        from equipot.workflows.committee import committee_spread

        if len(self.origin.models) < 2:
            return Made(self.origin)
        found = [
            committee_spread(self.calculator, atoms, name)
            for name, atoms in structures.items()
        ]
        spreads = tuple(spread for spread in found if spread is not None)
        for spread in spreads:
            typer.echo(spread.sentence())
        return Made(self.origin, spreads)


def prepare_calculation(
    model: Path,
    sources: Sequence[str],
    device: str,
    dtype: str,
    backend: str | None,
    extrapolate: bool,
    *,
    several: bool = False,
) -> Calculation:
    """Read structures, and load the model that computes them.

    Args:
        model: File or folder of a model or committee; the members are printed.
        sources: Structures, such as ``water.xyz`` or ``path.xyz@3``.
        device: "cpu", "cuda" or "auto".
        dtype: "float32" or "float64".
        backend: Tensor-product backend; None for that of the model.
        extrapolate: Warn, instead of raising, outside the domain of the model.
        several: Whether ``FILE@:`` means all structures of a file.

    Raises:
        ValueError: If a structure or the model cannot be read.
    """
    structures = tuple(
        atoms
        for source in sources
        for atoms in (
            read_structures(source)
            if several and names_all(source)
            else [read_structure(source)]
        )
    )
    calculator = load_calculator(model, device, dtype, backend, extrapolate)
    for atoms in structures:
        atoms.calc = calculator
    return Calculation(calculator, structures, _origin(calculator, sources))


def load_calculator(
    model: Path, device: str, dtype: str, backend: str | None, extrapolate: bool
) -> "EquipotCalculator":
    """Calculator of a model or a committee; prints the members of a committee."""
    from equipot.calculators import EquipotCalculator

    calculator = EquipotCalculator(
        model_files(model),
        device=device,
        dtype=dtype,
        backend=backend,
        on_extrapolation="warn" if extrapolate else "error",
    )
    if len(calculator.models) > 1:
        typer.echo(described_committee(calculator.models))
    return calculator


def _origin(calculator: "EquipotCalculator", sources: Iterable[str]) -> "Origin":
    from equipot.storage.provenance import Origin, file_sha256

    files = [file_of(source) for source in sources]
    return Origin(calculator.models, {str(f): file_sha256(f) for f in files})


def explain_calculations(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command so that a failed calculation is reported as bad input.

    Args:
        command: Command whose calculations may leave the domain of the potential.

    Returns:
        The command; it raises `ValueError` for a `CalculatorError` of ASE.
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
    """Print warnings, and collect them for a report.

    Yields:
        A list that holds their texts at the end.
    """
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield texts
    texts += [" ".join(str(warning.message).split()) for warning in caught]
    print_warnings(texts)


def print_warnings(texts: Iterable[str]) -> None:
    """Print warnings on standard error."""
    for text in texts:
        typer.secho(f"warning: {text}", fg="yellow", err=True)
