"""Verification of models on structures: printed tables, JSON, and a page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from rich.console import Console
from rich.markup import escape

from equipot.checkpoint.backends import choose_for
from equipot.checkpoint.file import read_header
from equipot.checkpoint.verification import (
    ModelReport,
    verify_committee,
    verify_model,
)
from equipot.data.reading.frames import iterate_frames
from equipot.models.products import AUTO
from equipot.report.parts.numbers import plural
from equipot.report.verification_page import verification_page
from equipot.storage.atomic_file import make_folder, write_atomically, write_json
from equipot.tensor_products import get_backend
from equipot.verify.table import backend_tables, potential_report


def run_verification(
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
    """Verify models and their backends, print the numbers, and write files.

    Args:
        models: File of the potential; or files of the members of a committee, of which
            every member is verified and then their mean, in float64.
        files: Structures to verify on; by default those that the model carries.
        backend: Backend to verify; by default all that support the model.
        json_file: Where to write the numbers as JSON. That of a committee has a section
            for every member and one for the mean.
        report_file: Where to write a page; that of a committee is about the mean.
        device: ``"auto"`` takes CUDA where there is one, else the CPU.
        dtype: ``"float32"`` or ``"float64"``; by default what it was trained in.
        level: ``"standard"`` or ``"thorough"``.
        console: Where to print; standard output by default.

    Returns:
        Whether everything passed.

    Raises:
        ValueError: If a file cannot be used, or the backend does not support the model.
        BackendUnavailableError: If the given backend cannot run here.
    """
    screen = console or Console()
    structures, described = _structures(files) if files else (None, None)
    options: dict[str, Any] = {
        "device": device,
        "described": described,
        "level": level,
    }
    found = []
    for model in models:
        backends = _chosen(backend, model, device, dtype, screen)
        with screen.status(f"verifying {escape(str(model))}"):
            found.append(
                verify_model(
                    model, structures, backends=backends, dtype=dtype, **options
                )
            )
        _print(found[-1], screen)
    last, record = found[-1], found[-1].as_dict()
    if len(models) > 1:
        with screen.status("verifying the mean of the committee"):
            last = verify_committee(models, structures, **options)
        _print(last, screen)
        record = {
            "passed": last.passed and all(member.passed for member in found),
            "members": [member.as_dict() for member in found],
            "mean": last.as_dict(),
        }
    if json_file is not None:
        make_folder(json_file.parent)
        write_json(json_file, record)
    if report_file is not None:
        make_folder(report_file.parent)
        write_atomically(report_file, verification_page(last).encode())
    for file in filter(None, (json_file, report_file)):
        screen.print(f"wrote {escape(str(file))}", soft_wrap=True, highlight=False)
    return bool(record["passed"])


def _chosen(
    backend: str | None, model: Path, device: str, dtype: str | None, screen: Console
) -> list[str] | None:
    """Backends to verify; None stands for all."""
    if backend is None:
        return None
    if backend == AUTO:
        choice = choose_for(read_header(model), device, dtype)
        screen.print(str(choice), soft_wrap=True, highlight=False)
        return [choice.backend]
    get_backend(backend)
    return [backend]


def _print(certificate: ModelReport, screen: Console) -> None:
    title = escape(f"{certificate.model} on {certificate.structures}")
    screen.print(title, highlight=False)
    for item in (
        *backend_tables(certificate.backends, certificate.skipped),
        *potential_report(certificate.potential),
    ):
        screen.print(item, highlight=False)
    verdict = (
        "[green]passed[/]"
        if certificate.passed
        else f"[red]FAILED[/]: {len(certificate.failures)} of them"
    )
    checks = f"{certificate.count} checks in {certificate.seconds:.0f} s"
    screen.print(f"{checks}: {verdict}", highlight=False)


def _structures(files: Sequence[Path]) -> tuple[list[Atoms], str]:
    """All structures of files, and a description of their origin."""
    frames = [atoms for file in files for atoms in iterate_frames(file)]
    names = ", ".join(str(file) for file in files)
    return frames, f"{plural(len(frames), 'structure')} of {names}"
