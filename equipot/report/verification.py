"""From a model and structures to a table of what was verified, and to files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from rich.console import Console, RenderableType
from rich.markup import escape

from equipot.checkpoint.backends import choose_for
from equipot.checkpoint.file import read_header
from equipot.checkpoint.verification import (
    ModelReport,
    verify_committee,
    verify_model,
)
from equipot.data.reading.frames import iterate_frames
from equipot.models.build import AUTO
from equipot.report.verification_page import verification_page
from equipot.storage.atomic_file import make_folder, write_atomically, write_json
from equipot.tensor_products import get_backend
from equipot.verify.table import backend_tables, potential_report


def run_committee_verification(
    models: Sequence[Path],
    files: Sequence[Path] = (),
    *,
    backend: str | None = None,
    json_file: Path | None = None,
    report_file: Path | None = None,
    device: str = "auto",
    dtype: str | None = None,
    level: str = "standard",
    console: Console | None = None,
) -> bool:
    """Verify every member of a committee and then their mean.

    Args:
        models: Files of the members.
        files: As in `run_verification`, and so are the other arguments. The JSON file
            has a section for every member and one for the mean; the page is of the
            mean.
        backend: Of the members.
        json_file: For all numbers.
        report_file: For a page.
        device: Of all.
        dtype: Of the members; the mean is verified in float64.
        level: Of all.
        console: Where to print; standard output by default.

    Returns:
        Whether everything passed.
    """
    screen = console or Console()
    members = [
        run_verification(
            model,
            files,
            backend=backend,
            device=device,
            dtype=dtype,
            level=level,
            console=screen,
        )
        for model in models
    ]
    structures, described = _structures(files) if files else (None, None)
    with screen.status("verifying the mean of the committee"):
        mean = verify_committee(
            models, structures, device=device, described=described, level=level
        )
    for item in _printed(mean):
        screen.print(item, highlight=False)
    passed = mean.passed and all(member.passed for member in members)
    record = {
        "passed": passed,
        "members": [member.as_dict() for member in members],
        "mean": mean.as_dict(),
    }
    _write(mean, record, json_file, report_file, screen)
    return passed


def run_verification(
    model: Path,
    files: Sequence[Path] = (),
    *,
    backend: str | None = None,
    json_file: Path | None = None,
    report_file: Path | None = None,
    device: str = "auto",
    dtype: str | None = None,
    level: str = "standard",
    console: Console | None = None,
) -> ModelReport:
    """Verify a model and its backends, print the numbers, and write what is wanted.

    Args:
        model: File of the potential.
        files: Structures to verify on; by default those that the model carries.
        backend: Backend to verify (default: all supported ones).
        json_file: Where to write the numbers for programs.
        report_file: Where to write a page for people.
        device: ``"auto"`` takes CUDA where there is one, else the CPU.
        dtype: ``"float32"`` or ``"float64"``; by default what it was trained in.
        level: How much is looked at: ``"standard"`` or ``"thorough"``.
        console: Where to print; standard output by default.

    Returns:
        All numbers, and whether everything passed.

    Raises:
        ValueError: If a file cannot be used, or the backend cannot compute the model.
        BackendUnavailableError: If the backend that was asked for cannot run here.
    """
    screen = console or Console()
    if backend == AUTO:
        choice = choose_for(read_header(model), device, dtype)
        screen.print(str(choice), soft_wrap=True, highlight=False)
        backend = choice.backend
    elif backend is not None:
        get_backend(backend)
    structures, described = _structures(files) if files else (None, None)
    with screen.status(f"verifying {escape(str(model))}"):
        certificate = verify_model(
            model,
            structures,
            backends=None if backend is None else [backend],
            device=device,
            dtype=dtype,
            described=described,
            level=level,
        )
    for item in _printed(certificate):
        screen.print(item, highlight=False)
    _write(certificate, certificate.as_dict(), json_file, report_file, screen)
    return certificate


def _write(
    certificate: ModelReport,
    record: Mapping[str, Any],
    json_file: Path | None,
    report_file: Path | None,
    screen: Console,
) -> None:
    """Write what is wanted and say so."""
    if json_file is not None:
        make_folder(json_file.parent)
        write_json(json_file, record)
    if report_file is not None:
        make_folder(report_file.parent)
        write_atomically(report_file, verification_page(certificate).encode())
    for file in filter(None, (json_file, report_file)):
        screen.print(f"wrote {escape(str(file))}", soft_wrap=True, highlight=False)


def _printed(certificate: ModelReport) -> Iterator[RenderableType]:
    yield escape(f"{certificate.model} on {certificate.structures}")
    yield from backend_tables(certificate.backends, certificate.skipped)
    yield from potential_report(certificate.potential)
    verdict = (
        "[green]passed[/]"
        if certificate.passed
        else f"[red]FAILED[/]: {len(certificate.failures)} of them"
    )
    yield f"{certificate.count} checks in {certificate.seconds:.0f} s: {verdict}"


def _structures(files: Sequence[Path]) -> tuple[list[Atoms], str]:
    """All structures of files, and in words where they are from."""
    frames = [atoms for file in files for atoms in iterate_frames(file)]
    names = ", ".join(str(file) for file in files)
    what = "structure" if len(frames) == 1 else "structures"
    return frames, f"{len(frames)} {what} of {names}"
