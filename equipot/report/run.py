"""Evaluation of a model on files: printed errors, a report, JSON, predictions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, track

from equipot.checkpoint.file import load_potential, read_header, read_statistics
from equipot.config.data import KeysConfig
from equipot.config.label_units import UnitsConfig
from equipot.data.dataset import make_example
from equipot.data.elements import check_elements
from equipot.data.structure import ISOLATED, Structure
from equipot.evaluation.evaluate import evaluate
from equipot.evaluation.loading import (
    check_labels,
    check_no_labels_were_missed,
    load_structures,
    with_keys_of_training,
)
from equipot.evaluation.predictions import write_predictions
from equipot.evaluation.results import Evaluation
from equipot.models.committee import Committee
from equipot.report import console
from equipot.report.evaluation_page import write_report
from equipot.report.findings import warnings
from equipot.report.history import read_history
from equipot.report.provenance import Provenance, collect
from equipot.storage.atomic_file import make_folder, write_json
from equipot.storage.provenance import SECTION


@dataclass(frozen=True)
class Wanted:
    """Files to write; None leaves one out."""

    report: Path | None = None
    """Report in HTML."""
    json: Path | None = None
    """Errors for programs."""
    predictions: Path | None = None
    """Structures with predictions, in extxyz."""


def run_evaluation(
    model: Path | Sequence[Path],
    data: Sequence[Path],
    *,
    keys: KeysConfig,
    wanted: Wanted,
    device: str = "auto",
    dtype: str | None = None,
    backend: str | None = None,
    hessians: Path | None = None,
    units: UnitsConfig | None = None,
) -> Evaluation:
    """Evaluate a model on files, print the errors, and write what is wanted.

    Args:
        model: File of the potential; or files of the members of a committee, whose
            mean is evaluated beside their spread.
        data: Files with structures.
        keys: Names of the labels in the files; those that are not given are as in the
            training of the model.
        wanted: Files to write.
        device: ``"auto"`` takes CUDA where there is one, else the CPU.
        dtype: ``"float32"`` or ``"float64"``; by default what it was trained in.
        backend: Tensor-product backend; by default as configured.
        hessians: File (.npz) with the Hessians of the structures of a single file.
        units: Units of the labels in the files; those of the package by default.

    Returns:
        The evaluation.

    Raises:
        ValueError: If the model or a file cannot be used; the message names the file
            and the frame. If no structure has a label: at once, or, where predictions
            alone are wanted and other keys look like labels, once they are written.
    """
    files = [model] if isinstance(model, Path) else list(model)
    header = read_header(files[0])
    members = [
        load_potential(file, device=device, dtype=dtype, backend=backend)
        for file in files
    ]
    potential = members[0] if len(members) == 1 else Committee(members)
    keys = with_keys_of_training(keys, header)
    everything = load_structures(data, keys, hessians, units)
    structures = [s for s in everything if not s.isolated]
    if wanted.report or wanted.json or not wanted.predictions:
        check_labels(structures, keys)
    check_elements(
        potential.elements, ((s.source, s.atoms.numbers.tolist()) for s in structures)
    )
    screen, messages = Console(), Console(stderr=True)
    tracked = track(structures, "neighbors", console=messages, transient=True)
    examples = [make_example(structure, potential.cutoff) for structure in tracked]
    with Progress(console=messages, transient=True) as bar:
        task = bar.add_task("predicting", total=len(examples))
        evaluation = evaluate(
            potential,
            examples,
            reference_energies=read_statistics(header).reference_energies,
            on_progress=lambda done: bar.update(task, completed=done),
        )
    about = collect(
        files[0],
        header,
        data,
        potential,
        backend=potential.backend,
        notes=_notes(len(everything) - len(structures), units or UnitsConfig()),
        members={str(file): read_header(file)["sha256"] for file in files[1:]},
    )
    for item in console.summary(evaluation, header, about.notes):
        screen.print(item)
    _write(wanted, evaluation, about, structures)
    for path in filter(None, (wanted.report, wanted.json, wanted.predictions)):
        screen.print(f"wrote {escape(str(path))}", soft_wrap=True)
    check_no_labels_were_missed(structures, keys)
    return evaluation


def _write(
    wanted: Wanted,
    evaluation: Evaluation,
    about: Provenance,
    structures: Sequence[Structure],
) -> None:
    if wanted.report is not None:
        history = read_history(Path(about.model), about.header)
        write_report(wanted.report, evaluation, about, history)
    if wanted.json is not None:
        make_folder(wanted.json.parent)
        write_json(wanted.json, _record(evaluation, about))
    if wanted.predictions is not None:
        write_predictions(wanted.predictions, structures, evaluation, about.origin)


def _record(evaluation: Evaluation, about: Provenance) -> dict[str, Any]:
    """The evaluation for programs; errors as `ErrorAccumulator.compute` documents."""
    return {
        "model": about.model,
        "model_sha256": about.header["sha256"],
        **_committee(evaluation, about),
        "data_sha256": dict(about.data),
        "environment": dict(about.environment),
        "structures": evaluation.num_structures,
        "atoms": len(evaluation.atomic_numbers),
        "errors": evaluation.metrics,
        **({"hessians": evaluation.hessians} if evaluation.hessians else {}),
        "warnings": [*warnings(evaluation, about.header), *about.notes],
        SECTION: about.origin.record(),
    }


def _committee(evaluation: Evaluation, about: Provenance) -> dict[str, Any]:
    """Further members, and the spread of all."""
    spread = evaluation.spread
    if spread is None:
        return {}
    found: dict[str, Any] = {"members": spread.members}
    for name, values in (("energy", spread.energy), ("forces", spread.forces)):
        found[f"{name}_mean"] = float(values.mean())
        found[f"{name}_max"] = float(values.max())
    return {"further_members_sha256": dict(about.members), "spread": found}


def _notes(isolated: int, units: UnitsConfig) -> tuple[str, ...]:
    """Sentences on rows that were left out and on units that were converted."""
    notes = []
    if isolated:
        rows = "row of an isolated atom was"
        if isolated > 1:
            rows = "rows of isolated atoms were"
        text = f"{isolated} {rows} left out: {ISOLATED} marks a reference, not a test."
        notes.append(text)
    if units.stated:
        notes.append(
            f"labels were converted on reading: {units.describe()} in the files."
        )
    return tuple(notes)
