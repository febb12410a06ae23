"""`equipot convert`: a model file from the file of another package."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from equipot.cli.errors import explain_errors

if TYPE_CHECKING:
    from equipot.conversion.check import Difference
    from equipot.conversion.converted import Converted, Source
    from equipot.conversion.structures import DomainOfStructures
    from equipot.data.structure import Structure
    from equipot.models.potential import Potential


@explain_errors
def convert(
    file: Annotated[
        Path,
        typer.Argument(
            help="Model of another package: MACE (.model), Nequix (.nqx), SevenNet "
            "(.pth), NequIP (.ckpt, .nequip.zip), MatGL (folder). Nothing of the file "
            "is run."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Output file, .safetensors.")
    ],
    source: Annotated[
        str | None,
        typer.Option(
            help="Package of the file, such as mace.", show_default="from the content"
        ),
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="Head of the original, if it has several.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="float32 or float64: precision of the model where it is used; weights "
            "are stored in float64.",
            show_default="that of the original",
        ),
    ] = None,
    domain: Annotated[
        list[Path] | None,
        typer.Option(
            help="Structures like those that the original was trained on, for the "
            "domain of validity; repeatable. Labels are not needed."
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            help="Structures on which to compare with the original package, which must "
            "be installed. It is run in a process of its own, which unpickles the file "
            "and so can run code of it: only for files that you trust."
        ),
    ] = None,
    check_labels: Annotated[
        Path | None,
        typer.Option(
            help="Structures with predictions of the original as REF_energy, "
            "REF_forces and REF_stress, to compare with; nothing else is needed."
        ),
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(
            help="Python that has the original package, for --check.",
            show_default="this one",
        ),
    ] = None,
    license_text: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="License of the weights, to be recorded.",
            show_default="from the file",
        ),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Run equipot verify at the end; minutes for a model of many elements.",
        ),
    ] = False,
) -> None:
    """Convert a model of another package.

    Energies, forces and stress are those of the original, to rounding. Whatever the
    file has that the equations do not account for is an error. Data sets are converted
    by `equipot data convert`.
    """
    from equipot.conversion.convert import (
        build,
        find_source,
        read_model,
        save_converted,
    )
    from equipot.storage.provenance import file_sha256

    _check_options(output, dtype, check, python)
    package = find_source(file, source)
    converted = _with_license(read_model(file, package, head), license_text)
    potential = build(converted)
    facts = _facts(converted, potential, dtype or converted.origin.dtype)
    _show(f"{file}: {package.describes}", list(facts))
    if check is not None:
        _compare_with_original(
            package, file, converted, potential, check, head, python=python
        )
    if check_labels is not None:
        _compare_with_labels(converted, potential, check_labels)
    known = None
    if domain:
        converted, known = _with_domain(converted, potential, domain)
    sha256 = save_converted(
        output,
        converted,
        potential,
        dtype=dtype,
        samples=[] if known is None else known.samples,
        features=None if known is None else known.features,
        data={str(path): file_sha256(path) for path in domain or ()},
    )
    for warning in converted.statistics.warnings:
        typer.secho(f"warning: {warning}", fg="yellow", err=True)
    typer.echo(f"wrote {output}  {sha256[:16]}")
    _verify_shortly(converted, potential)
    if verify:
        from equipot.report.verification import run_verification

        run_verification([output], ())
    _show("next", _next_lines(output))


def _check_options(
    output: Path, dtype: str | None, check: Path | None, python: Path | None
) -> None:
    """Refuse what would fail after the work is done."""
    if output.suffix != ".safetensors":
        raise ValueError(f"{output} must end in .safetensors")
    if output.exists():
        raise ValueError(f"{output} exists already; choose another name")
    if dtype not in (None, "float32", "float64"):
        raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
    if python is not None and check is None:
        raise ValueError("--python is for --check")


def _with_license(converted: "Converted", text: str | None) -> "Converted":
    from dataclasses import replace

    from equipot.checkpoint.origin import parse_origin

    if text is None:
        return converted
    origin = parse_origin({**converted.origin.model_dump(), "license": text})
    return converted if origin is None else replace(converted, origin=origin)


def _facts(
    converted: "Converted", potential: "Potential", dtype: str
) -> Iterator[tuple[str, str]]:
    """What was read, what has no effect, and what to know of the original."""
    from ase.data import chemical_symbols

    from equipot.cli.info import describe_architecture, describe_origin

    numbers = potential.elements
    model = {**converted.config.model_dump(), "dtype": dtype}
    yield "architecture", describe_architecture(model)
    yield (
        "elements",
        f"{len(numbers)}: {' '.join(chemical_symbols[z] for z in numbers)}",
    )
    count = sum(weight.numel() for weight in potential.parameters())
    yield "parameters", f"{count:,}"
    yield from describe_origin(converted.origin)
    by_reason: dict[str, list[str]] = {}
    for line in converted.origin.without_effect:
        name, _, reason = line.partition(": ")
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        yield "without effect", f"{', '.join(names)}: {reason}"


def _compare_with_original(
    package: "Source",
    file: Path,
    converted: "Converted",
    potential: "Potential",
    check: Path,
    head: str | None,
    *,
    python: Path | None,
) -> None:
    """Compare with the original package, and refuse differences."""
    from equipot.conversion.original import predict_with_original

    labeled, version = predict_with_original(
        package.original,
        file,
        _structures([check], converted),
        head=head,
        dtype=converted.origin.dtype,
        python=python,
    )
    name = f"{converted.origin.package} {version}".strip()
    _compare(converted, potential, labeled, f"compared with {name} on {check}")


def _compare_with_labels(
    converted: "Converted", potential: "Potential", check: Path
) -> None:
    """Compare with predictions of the original in a file, and refuse differences."""
    structures = _structures([check], converted, labels=True)
    _compare(converted, potential, structures, f"compared with labels of {check}")


def _compare(
    converted: "Converted",
    potential: "Potential",
    structures: "Sequence[Structure]",
    title: str,
) -> None:
    from equipot.conversion.check import compare, refuse_differences

    found = compare(potential, structures, converted.origin.dtype)
    _show(f"{title}, {len(structures)} structures", [_line(d) for d in found])
    refuse_differences(found)


def _line(difference: "Difference") -> tuple[str, str]:
    return difference.quantity, (
        f"{difference.largest:.2g} {difference.unit} at most, in {difference.where} "
        f"({difference.tolerance:.0e} is allowed)"
    )


def _structures(
    files: Sequence[Path], converted: "Converted", *, labels: bool = False
) -> "list[Structure]":
    """Structures of files, with the labels that these have under REF_ keys, or none."""
    from equipot.config.data import KeysConfig
    from equipot.data.elements import check_elements
    from equipot.data.reading.labeled import read_structures

    bare = KeysConfig(
        energy=None, forces=None, stress=None, hessian=None, config_type=None
    )
    keys = KeysConfig() if labels else bare
    structures = [s for file in files for s in read_structures(file, keys)]
    check_elements(
        converted.statistics.elements,
        ((s.source, s.atoms.numbers.tolist()) for s in structures),
    )
    return structures


def _with_domain(
    converted: "Converted", potential: "Potential", files: Sequence[Path]
) -> "tuple[Converted, DomainOfStructures]":
    """The converted model with a domain of validity."""
    from dataclasses import replace

    from equipot.conversion.structures import domain_of_structures

    known = domain_of_structures(
        potential, converted.statistics, _structures(files, converted)
    )
    counted = f"{known.statistics.num_structures} structures"
    typer.echo(f"domain of validity from {counted}, {known.statistics.num_atoms} atoms")
    if known.absent:
        typer.secho(
            f"note: no structure has {', '.join(known.absent)}: pairs with these "
            "elements count as extrapolation, and features are not compared",
            dim=True,
            err=True,
        )
    return replace(converted, statistics=known.statistics), known


def _verify_shortly(converted: "Converted", potential: "Potential") -> None:
    """Print the result of a few checks, and what the original lacks."""
    from equipot.conversion.verification import short_checks

    checks = short_checks(potential, converted)
    failed = [check for check in checks if not check.passed]
    names = ", ".join(check.name for check in checks)
    if not failed:
        typer.echo(f"verified: {names}")
    for check in failed:
        typer.secho(f"verification failed: {check}", fg="red", err=True)
    for remark in converted.origin.remarks:
        typer.secho(f"note: of the original: {remark}", err=True)


def _next_lines(output: Path) -> list[tuple[str, str]]:
    return [
        ("Python", "from equipot import EquipotCalculator"),
        ("", f'atoms.calc = EquipotCalculator("{output}")'),
        ("relaxation", f"equipot relax {output} STRUCTURE --output relaxed.xyz"),
        ("dynamics", f"equipot md MD.yaml --set model={output}"),
        ("all checks", f"equipot verify {output}"),
    ]


def _show(title: str, lines: Sequence[tuple[str, str]]) -> None:
    from equipot.system.terminal import in_columns

    typer.secho(title, bold=True)
    for line in in_columns(lines):
        typer.echo(line)
