"""Provenance of a result: models and their hashes, version, date, inputs."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import equipot
from equipot.storage.atomic_file import write_json
from equipot.system.environment import describe_environment

MODEL: Final = "equipot_model"
SHA256: Final = "equipot_model_sha256"
VERSION: Final = "equipot_version"
DATE: Final = "equipot_date"
SOURCE: Final = "equipot_source_sha256"
KEYS: Final = (MODEL, SHA256, VERSION, DATE, SOURCE)
"""Names under which frames of extended XYZ say in ``info`` what made them."""
ENVIRONMENT: Final = "environment.json"
"""Versions, machine and provenance of every start of a run."""
ENERGY_SPREAD: Final = "energy_spread"
"""In ``info``: standard deviation of the energy between members of a committee, eV."""
FORCES_SPREAD: Final = "forces_spread"
"""Column: that of the force on each atom, in eV/Å."""
SECTION: Final = "provenance"
"""Name of the section of JSON files."""


def utc_now() -> str:
    """Date and time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class ModelIdentity:
    """Which potential it was."""

    file: str | None
    """As it was given; None for a potential in memory, or where it is not known."""
    sha256: str
    """Of header and weights of the file, as ``equipot info`` shows it; of the weights
    of a potential in memory."""


@dataclass(frozen=True)
class Origin:
    """What made a result, for everyone who finds it later."""

    models: tuple[ModelIdentity, ...] = ()
    """All members of a committee; none where no potential was involved."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the files that were read, by name."""
    version: str = equipot.__version__
    """Of equipot."""
    date: str = field(default_factory=utc_now)
    """In UTC, as ISO 8601."""

    def record(self) -> dict[str, Any]:
        """JSON values: the section ``provenance`` of result files."""
        return {
            "equipot_version": self.version,
            "date": self.date,
            "models": [
                {"file": model.file, "sha256": model.sha256} for model in self.models
            ],
            "inputs_sha256": dict(self.inputs),
        }

    def info(self) -> dict[str, str]:
        """For ``info`` of frames; several values are separated by commas.

        Inputs are named where no model is: then they alone made the frame.
        """
        sources = [] if self.models else list(self.inputs.values())
        return {
            **self.lasting_info(),
            DATE: self.date,
            **_joined(MODEL, [m.file for m in self.models if m.file is not None]),
            **_joined(SOURCE, sources),
        }

    def lasting_info(self) -> dict[str, str]:
        """For frames of a run that is resumed bit for bit: neither date nor paths."""
        return {
            VERSION: self.version,
            **_joined(SHA256, [m.sha256 for m in self.models]),
        }

    def lines(self) -> list[str]:
        """Sentences for a page or the first lines of a text file."""
        models = [
            f"Model{'' if model.file is None else f' {model.file}'}, SHA-256 "
            f"{model.sha256}."
            for model in self.models
        ]
        inputs = [f"Input {name}, SHA-256 {sha}." for name, sha in self.inputs.items()]
        return [f"Written by equipot {self.version}, {self.date}.", *models, *inputs]


def stamp(info: dict[str, Any], facts: Mapping[str, str]) -> None:
    """Say in ``info`` of a frame what made it, instead of what made its input.

    Args:
        info: Changed in place.
        facts: `Origin.info`, `Origin.lasting_info`, or nothing.
    """
    for key in KEYS:
        info.pop(key, None)
    info.update(facts)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; of a folder, of its files in order."""
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
    """Add a start to ``environment.json`` of a run; no run ends for a damaged note.

    Args:
        folder: Of the run.
        origin: Models and inputs, where a run has them when it starts.
    """
    file = folder / ENVIRONMENT
    starts = []
    if file.is_file():
        try:
            starts = list(json.loads(file.read_text(encoding="utf-8")))
        except (TypeError, ValueError) as error:
            starts = [{"lost": f"earlier starts could not be read: {error}"}]
    made = {} if origin is None else {SECTION: origin.record()}
    write_json(file, [*starts, {**describe_environment(), **made}])


def named_models(hashes: Sequence[str], folder: Path) -> tuple[ModelIdentity, ...]:
    """Models that frames name by their hashes, with files where a run tells them.

    Args:
        hashes: SHA-256 of each.
        folder: Perhaps of a run, with an ``environment.json``.
    """
    try:
        starts = json.loads((folder / ENVIRONMENT).read_text(encoding="utf-8"))
        models = [model for start in starts for model in start[SECTION]["models"]]
        files = {str(model["sha256"]): model["file"] for model in models}
    except (OSError, ValueError, KeyError, TypeError):
        files = {}  # of another program, or moved away: the hash names the model
    return tuple(ModelIdentity(files.get(sha), sha) for sha in hashes)


def _joined(key: str, values: Sequence[str]) -> dict[str, str]:
    return {key: ",".join(values)} if values else {}
