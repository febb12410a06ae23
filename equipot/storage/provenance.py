"""Provenance of results: models and their hashes, version, date, inputs."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import equipot
from equipot.storage.atomic_file import write_json
from equipot.storage.nesting import load_json
from equipot.system.environment import describe_environment

MODEL: Final = "equipot_model"
SHA256: Final = "equipot_model_sha256"
VERSION: Final = "equipot_version"
DATE: Final = "equipot_date"
SOURCE: Final = "equipot_source_sha256"
KEYS: Final = (MODEL, SHA256, VERSION, DATE, SOURCE)
"""Keys of the provenance in ``info`` of extended XYZ frames."""
ENVIRONMENT: Final = "environment.json"
"""File with versions, hardware and provenance of every start of a run."""
ENERGY_SPREAD: Final = "energy_spread"
"""Key in ``info``: standard deviation of the energy between committee members, eV."""
FORCES_SPREAD: Final = "forces_spread"
"""Column: standard deviation of the force on each atom, in eV/Å."""
SECTION: Final = "provenance"
"""Name of the section of JSON files."""


def utc_now() -> str:
    """Date and time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class ModelIdentity:
    """Identity of a potential."""

    file: str | None
    """File as passed; None for a potential in memory, or if unknown."""
    sha256: str
    """SHA-256 of header and weights of the file, as shown by ``equipot info``; for a
    potential in memory, of its weights."""


@dataclass(frozen=True)
class Origin:
    """Provenance of a result."""

    models: tuple[ModelIdentity, ...] = ()
    """All members of a committee; empty if no potential was used."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the input files, by name."""
    version: str = equipot.__version__
    """Version of equipot."""
    date: str = field(default_factory=utc_now)
    """Date and time in UTC, as ISO 8601."""

    def record(self) -> dict[str, Any]:
        """JSON values for the section ``provenance`` of result files."""
        return {
            "equipot_version": self.version,
            "date": self.date,
            "models": [
                {"file": model.file, "sha256": model.sha256} for model in self.models
            ],
            "inputs_sha256": dict(self.inputs),
        }

    def info(self) -> dict[str, str]:
        """Entries for ``info`` of frames; several values are separated by commas.

        Inputs are included only if no model was used.
        """
        sources = [] if self.models else list(self.inputs.values())
        return {
            **self.lasting_info(),
            DATE: self.date,
            **_joined(MODEL, [m.file for m in self.models if m.file is not None]),
            **_joined(SOURCE, sources),
        }

    def lasting_info(self) -> dict[str, str]:
        """Entries for frames of runs that resume bit for bit: no date, no paths."""
        return {
            VERSION: self.version,
            **_joined(SHA256, [m.sha256 for m in self.models]),
        }

    def lines(self) -> list[str]:
        """Sentences for a report or the header of a text file."""
        models = [
            f"Model{'' if model.file is None else f' {model.file}'}, SHA-256 "
            f"{model.sha256}."
            for model in self.models
        ]
        inputs = [f"Input {name}, SHA-256 {sha}." for name, sha in self.inputs.items()]
        return [f"Written by equipot {self.version}, {self.date}.", *models, *inputs]


def stamp(info: dict[str, Any], facts: Mapping[str, str]) -> None:
    """Replace the provenance in ``info`` of a frame.

    Args:
        info: Modified in place.
        facts: `Origin.info`, `Origin.lasting_info`, or nothing.
    """
    for key in KEYS:
        info.pop(key, None)
    info.update(facts)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file in hexadecimal; for a directory, of its sorted files."""
    total = hashlib.sha256()
    parts = (
        sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    )
    for part in parts:
        with part.open("rb") as file:
            while chunk := file.read(1 << 20):
                total.update(chunk)
    return total.hexdigest()


def note_start(folder: Path, origin: Origin | None = None) -> None:
    """Append a start to ``environment.json`` of a run; a damaged file is replaced.

    Args:
        folder: Run directory.
        origin: Models and inputs, if known at the start.
    """
    file = folder / ENVIRONMENT
    starts = []
    if file.is_file():
        try:
            starts = list(load_json(file.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            starts = [{"lost": f"earlier starts could not be read: {error}"}]
    made = {} if origin is None else {SECTION: origin.record()}
    write_json(file, [*starts, {**describe_environment(), **made}])


def named_models(hashes: Sequence[str], folder: Path) -> tuple[ModelIdentity, ...]:
    """Models of frames by their hashes, with file names if a run recorded them.

    Args:
        hashes: SHA-256 of each model.
        folder: Directory, possibly of a run with an ``environment.json``.
    """
    try:
        starts = load_json((folder / ENVIRONMENT).read_text(encoding="utf-8"))
        models = [model for start in starts for model in start[SECTION]["models"]]
        files = {str(model["sha256"]): model["file"] for model in models}
    except (OSError, ValueError, KeyError, TypeError):
        files = {}  # written by another program, or missing: only hashes are known
    return tuple(ModelIdentity(files.get(sha), sha) for sha in hashes)


def _joined(key: str, values: Sequence[str]) -> dict[str, str]:
    return {key: ",".join(values)} if values else {}
