"""From a model and structures to a table of verified backends."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from rich.console import Console

from equipot.atomic_file import write_json
from equipot.checkpoint import (
    load_potential,
    read_header,
    read_samples,
    read_statistics,
)
from equipot.data.frames import iterate_frames
from equipot.data.pairs import pair_name
from equipot.data.statistics import Statistics
from equipot.environment import describe_environment
from equipot.models.build import AUTO, unsupported
from equipot.models.potential import Potential
from equipot.report.backends import choose_for
from equipot.report.evaluate import check_elements
from equipot.tensor_products import BACKENDS, REFERENCE, unavailable
from equipot.verify import Verification, expect, verify_backend
from equipot.verify.certificate import Certificate, certify_potential
from equipot.verify.table import certificate_report, report

MAX_FRAMES = 4
"""Structures of the user's files that are taken, evenly spaced."""


def run_verification(
    model: Path,
    files: Sequence[Path] = (),
    *,
    backend: str | None = None,
    json_file: Path | None = None,
    device: str = "auto",
    dtype: str | None = None,
    console: Console | None = None,
) -> bool:
    """Verify a model and its backends, print the numbers, and say whether all passed.

    Args:
        model: File of the potential.
        files: Structures to verify on; by default those that the model carries.
        backend: Whom to verify; by default all that can compute the model here.
        json_file: Where to write the numbers for programs.
        device: ``"auto"`` takes CUDA where there is one, else the CPU.
        dtype: ``"float32"`` or ``"float64"``; by default what it was trained in.
        console: Where to print; standard output by default.

    Returns:
        Whether every check of the potential and of every backend passed.

    Raises:
        ValueError: If a file cannot be used, or the backend cannot compute the model.
        BackendUnavailableError: If the backend that was asked for cannot run here.
    """
    screen = console or Console()
    header = read_header(model)
    potential = load_potential(
        model, device=device, dtype=dtype, backend=REFERENCE, verify=False
    )
    structures, source = _structures(files, header)
    check_elements(
        potential.elements,
        ((f"structure {n}", a.numbers.tolist()) for n, a in enumerate(structures)),
    )
    atoms = sum(len(a) for a in structures)
    screen.print(f"{model} on {source}, {atoms} atoms", soft_wrap=True, highlight=False)
    if backend == AUTO:
        choice = choose_for(header, device, dtype)
        screen.print(str(choice), soft_wrap=True, highlight=False)
        backend = choice.backend
    names, skipped = _backends(backend, potential)
    expected = expect(potential, structures)
    verifications = [verify_backend(expected, name) for name in names]
    for item in report(verifications, skipped):
        screen.print(item, highlight=False)
    certificate = certify_potential(
        potential, structures, closest=_limits(read_statistics(header))
    )
    for item in certificate_report(certificate):
        screen.print(item, highlight=False)
    if json_file is not None:
        record = _record(model, header, source, verifications, skipped, certificate)
        json_file.parent.mkdir(parents=True, exist_ok=True)
        write_json(json_file, record)
        screen.print(f"wrote {json_file}", soft_wrap=True, highlight=False)
    return certificate.passed and all(v.passed for v in verifications)


def _limits(statistics: Statistics) -> Callable[[int, int], float]:
    """Distance below which calculators refuse a pair: a new pair, at any."""
    return lambda a, b: statistics.minimum_distances.get(
        pair_name(a, b), statistics.cutoff
    )


def _structures(
    files: Sequence[Path], header: dict[str, Any]
) -> tuple[list[Atoms], str]:
    """Structures, and in words where they are from."""
    if not files:
        structures = read_samples(header)
        whose = "structures that it carries"
        if not header["samples"]:
            whose = "structures generated in its domain, as it carries none"
        return structures, f"{len(structures)} {whose}"
    frames = [atoms for file in files for atoms in iterate_frames(file)]
    chosen = np.unique(np.linspace(0, len(frames) - 1, MAX_FRAMES).round().astype(int))
    names = ", ".join(str(file) for file in files)
    source = f"{len(chosen)} of {len(frames)} structures of {names}"
    return [frames[n] for n in chosen], source


def _backends(
    backend: str | None, potential: Potential
) -> tuple[list[str], dict[str, str]]:
    """Backends to verify, and why others are not."""
    if backend is not None:
        return [backend], {}
    reasons = {
        name: unsupported(name, potential.backbone.specs)
        or unavailable(name, potential.device)
        for name in BACKENDS
    }
    names = [name for name, reason in reasons.items() if reason is None]
    return names, {n: reason for n, reason in reasons.items() if reason is not None}


def _record(
    model: Path,
    header: dict[str, Any],
    source: str,
    verifications: Sequence[Verification],
    skipped: dict[str, str],
    certificate: Certificate,
) -> dict[str, Any]:
    return {
        "environment": describe_environment(),
        "model": str(model),
        "model_sha256": header["sha256"],
        "structures": source,
        "threads": torch.get_num_threads(),
        "passed": certificate.passed and all(v.passed for v in verifications),
        "potential": certificate.as_dict(),
        "backends": [v.as_dict() for v in verifications],
        "skipped": skipped,
    }
