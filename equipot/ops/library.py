"""The compiled libraries of ``cuda_ext/``: loaded when they fit, refused when not.

Importing this module loads every library that is built, was made from the sources
beside this package, and agrees with it about the ops. What is wrong with one that is
not loaded is kept, and `unavailable` tells it to whoever needs that library.
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

ABI = 3
"""Number of the agreement with ``cuda_ext/abi.h`` about schemas and operands."""

MARKER = b"equipot-manifest:"
FOLDER = Path(__file__).parent / "lib"
ROOT = Path(__file__).parents[2]


class LibraryUnavailableError(ImportError):
    """Compiled ops are needed that are not built, or not from these sources."""


@dataclass(frozen=True)
class Library:
    """What is known about the compiled ops of a device."""

    device: str
    """Type of the device, as in ``torch.device(...).type``."""
    problem: str | None
    """Why it is not loaded; None if it is."""
    manifest: dict[str, Any]
    """What it was built from; empty if there is none."""

    @property
    def command(self) -> str:
        """Shell command that builds it, in any folder.

        It names the folder of the sources and never the package alone: an index might
        have another package of that name.
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
    """What the package was installed from, for pip; a word for it if that is unknown.

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
    """Why ops on a device would not be the compiled ones, and what to do; or None.

    Args:
        device: Where the operands are. Nothing is computed on "meta".
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
    """Make sure that ops on a device are the compiled ones.

    Raises:
        LibraryUnavailableError: If not; says what to do.
    """
    if (reason := unavailable(device)) is not None:
        raise LibraryUnavailableError(reason)


def cpu_instruction_set() -> str:
    """Instruction set that kernels for the CPU use, or why ``EQUIPOT_CPU_ISA`` fails.

    Raises:
        LibraryUnavailableError: If the library for the CPU is not loaded.
    """
    require(torch.device("cpu"))
    function = ctypes.CDLL(str(library_path("cpu"))).equipot_cpu_isa
    function.restype = ctypes.c_char_p
    answer: bytes = function()
    return answer.decode()


def library_path(device: str) -> Path:
    """File of the library for a type of device; it need not be there."""
    return FOLDER / f"equipot_{device}.so"


def _load(device: str) -> Library:
    """Load the library of a device if nothing is wrong with it."""
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
    """Why a library must not be loaded, or None."""
    if manifest.get("abi") != ABI:
        return (
            f"were built for version {manifest.get('abi')} of the ops, but this "
            f"package has version {ABI}"
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
    """Manifest in a library that is not loaded, as loading it would register it."""
    _, _, rest = path.read_bytes().partition(MARKER + b"{")
    text, _, _ = rest.partition(b"\0")
    manifest: dict[str, Any] = json.loads(b"{" + text) if text else {}
    return manifest


LIBRARIES = {device: _load(device) for device in ("cpu", "cuda")}
"""Libraries by the type of their device, loaded or not."""
