"""What an evaluation was made with: files, programs, machine, date."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from equipot.models.committee import Committee
from equipot.models.potential import Potential
from equipot.storage.nesting import load_json
from equipot.storage.provenance import ModelIdentity, Origin, file_sha256, utc_now
from equipot.system.environment import describe_environment

CERTIFICATE = ("passed", "model_sha256", "failures", "structures")
"""Keys of a certificate."""
AROUND = ("equipot", "time", "processor", "gpu")
"""Keys of its environment."""


@dataclass(frozen=True)
class Provenance:
    """Facts that a reader needs to repeat an evaluation."""

    model: str
    """Path of the model as it was given."""
    header: Mapping[str, Any]
    """Header of the model, with its hash."""
    data: Mapping[str, str]
    """SHA-256 of every data file."""
    environment: Mapping[str, str]
    """Date, versions, machine and arithmetic, as text by name."""
    notes: tuple[str, ...] = ()
    """Sentences on how the data were read."""
    members: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 of the further members, by file, if the model is a committee."""
    certificate: Mapping[str, Any] | None = None
    """What a verification left beside the model, of whichever model it was."""

    @property
    def origin(self) -> Origin:
        """In the form that all results have in common."""
        hashes = {self.model: str(self.header["sha256"]), **self.members}
        return Origin(
            models=tuple(ModelIdentity(file, sha) for file, sha in hashes.items()),
            inputs=self.data,
            version=self.environment.get("equipot", ""),
            date=self.environment.get("Date", ""),
        )


def collect(
    model: Path,
    header: Mapping[str, Any],
    data: Sequence[Path],
    potential: Potential | Committee,
    *,
    backend: str,
    notes: Sequence[str] = (),
    members: Mapping[str, str] | None = None,
) -> Provenance:
    """Facts about an evaluation that is being made.

    Args:
        model: File of the model.
        header: Of the model.
        data: Files that are evaluated.
        potential: As loaded.
        backend: Tensor-product backend.
        notes: Passed on.
        members: Passed on.

    Returns:
        The facts; reading them hashes the data files.
    """
    around = describe_environment()
    return Provenance(
        model=str(model),
        header=header,
        data={str(path): file_sha256(path) for path in data},
        environment={
            "Date": utc_now(),
            "equipot": around["equipot"],
            "Revision": around["revision"] or "unknown",
            **{name: str(version) for name, version in around["packages"].items()},
            "python": around["python"],
            "Platform": around["platform"],
            "Processor": around["processor"],
            "Threads": str(around["threads"]),
            "Device": around["gpu"] if potential.device.type == "cuda" else "cpu",
            "Arithmetic": str(potential.dtype).removeprefix("torch."),
            "Backend": backend,
        },
        notes=tuple(notes),
        members=dict(members or {}),
        certificate=read_certificate(model),
    )


def read_certificate(model: Path) -> Mapping[str, Any] | None:
    """What training, or ``equipot verify --json``, left in the folder of a model.

    Args:
        model: File of the model.

    Returns:
        Content of ``verification.json``; None if there is none, and nothing of it if it
        is no certificate.
    """
    file = model.parent / "verification.json"
    if not file.is_file():
        return None
    try:
        found = load_json(file.read_text(encoding="utf-8"))
        return {
            **{name: found[name] for name in CERTIFICATE},
            **{name: found["environment"][name] for name in AROUND},
        }
    except (ValueError, KeyError, TypeError):
        return {}
