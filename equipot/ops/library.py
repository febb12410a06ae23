"""Loading of the compiled libraries of ``cuda_ext/``, with compatibility checks.

Importing this module loads every library that exists, was built from the present
sources and has the ABI version of this package. The reason why a library is not loaded
is returned by `unavailable`.
"""

import ctypes
import hashlib
import json
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import torch

ABI = 6
"""Version of the op schemas and operands, equal to that in ``cuda_ext/abi.h``."""

MARKER = b"equipot-manifest:"
FOLDER = Path(__file__).parent / "lib"
ROOT = Path(__file__).parents[2]


class LibraryUnavailableError(ImportError):
    """Compiled ops are missing or were not built from the present sources."""


@dataclass(frozen=True)
class Library:
    """Status of the compiled ops of a device."""

    device: str
    """Type of the device, as in ``torch.device(...).type``."""
    problem: str | None
    """Reason why the library is not loaded; None if it is."""
    manifest: dict[str, Any]
    """Build manifest; empty if there is no library."""

    @property
    def command(self) -> str:
        """Shell command that builds the library, from any folder.

        It contains the path of the sources instead of the package name, since an index
        might have another package of that name.
        """
        build = ROOT / "cuda_ext" / "build.py"
        if build.exists():
            inside = Path.cwd() == ROOT
            return (
                f"python {build.relative_to(ROOT) if inside else build} {self.device}"
            )
        targets = "cpu" if self.device == "cpu" else "cpu,cuda"
        return (
            f"pip install 'setuptools>=77' && EQUIPOT_BUILD={targets} pip install "
            f"--no-build-isolation --no-deps --force-reinstall {_origin()}"
        )


def _origin() -> str:
    """Source of the installed package, for pip; a placeholder if not known.

    Source: PEP 610, ``direct_url.json``.
    """
    try:
        text = metadata.distribution("equipot").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        text = None
    origin: dict[str, Any] = json.loads(text or "{}")
    url = str(origin.get("url", ""))
    if "vcs_info" in origin:
        return f"'{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}'"
    folder = Path(unquote(urlparse(url).path))
    if url.startswith("file:") and (folder / "cuda_ext" / "build.py").is_file():
        return f"'{folder}'"
    return "FOLDER_OF_THE_SOURCES"


def unavailable(device: torch.device) -> str | None:
    """Reason why compiled ops are not available on a device, with the remedy, or None.

    Args:
        device: Device of the operands; always available for "meta".
    """
    if device.type == "meta":
        return None
    library = LIBRARIES.get(device.type)
    if library is None:
        return (
            f"there are no compiled ops for device {device.type!r}, only for "
            f"{', '.join(LIBRARIES)}; choose another backend, such as 'clebsch_gordan'"
        )
    if library.problem is not None:
        return (
            f"the compiled ops for {device.type} {library.problem}: run "
            f"`{library.command}`, or choose another backend, such as 'clebsch_gordan'"
        )
    return None


def require(device: torch.device) -> None:
    """Raise unless the compiled ops of a device are loaded.

    Raises:
        LibraryUnavailableError: If they are not; the message has the remedy.
    """
    if (reason := unavailable(device)) is not None:
        raise LibraryUnavailableError(reason)


def cpu_instruction_set() -> str:
    """Instruction set of the CPU kernels, or the error about ``EQUIPOT_CPU_ISA``.

    Raises:
        LibraryUnavailableError: If the library for the CPU is not loaded.
    """
    require(torch.device("cpu"))
    function = ctypes.CDLL(str(library_path("cpu"))).equipot_cpu_isa
    function.restype = ctypes.c_char_p
    answer: bytes = function()
    return answer.decode()


def library_path(device: str) -> Path:
    """Path of the library of a device type, whether it exists or not."""
    return FOLDER / f"equipot_{device}.so"


def _load(device: str) -> Library:
    """Load the library of a device if it is compatible."""
    path = library_path(device)
    if not path.exists():
        return Library(device, "are not built", {})
    manifest = _read_manifest(path)
    problem = _mismatch(device, manifest)
    if problem is None:
        try:
            torch.ops.load_library(path)
        except OSError as error:
            problem = f"cannot be loaded ({error})"
    return Library(device, problem, manifest)


def _mismatch(device: str, manifest: dict[str, Any]) -> str | None:
    """Reason why a library is incompatible, or None."""
    if manifest.get("abi") != ABI:
        return (
            f"were built for ABI version {manifest.get('abi')}, but this package needs "
            f"version {ABI}"
        )
    if not (ROOT / "cuda_ext").is_dir():
        return None  # installed without sources
    sources = manifest["sources"]
    present = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "cuda_ext" / device).iterdir()
        if path.is_file()
    }
    for name in sorted(present | set(sources)):
        if _digest(ROOT / name) != sources.get(name):
            return f"were not built from the present {name}"
    return None


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def _read_manifest(path: Path) -> dict[str, Any]:
    """Manifest of a library file, read without loading the library."""
    _, _, rest = path.read_bytes().partition(MARKER + b"{")
    text, _, _ = rest.partition(b"\0")
    manifest: dict[str, Any] = json.loads(b"{" + text) if text else {}
    return manifest


LIBRARIES = {device: _load(device) for device in ("cpu", "cuda")}
"""Libraries by device type, loaded or not."""
