"""Fingerprint of code, libraries and machine, for caches of results and timings."""

import hashlib
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

import equipot
from equipot.ops.library import LIBRARIES, cpu_instruction_set, library_path
from equipot.system.hardware import device_name

PACKAGES = (
    "torch",
    "numpy",
    "e3nn",
    "vesin",
    "cuequivariance-torch",
    "cuequivariance-ops-torch-cu12",
    "cuequivariance-ops-torch-cu13",
)
PRODUCT_CODE = (
    "tensor_products",
    "ops",
    "so3",
    "graph",
    "constants.py",
)
"""Folders and modules of the package for computing and comparing tensor products."""
MODEL_CODE = (
    *PRODUCT_CODE,
    "autodiff",
    "config/model.py",
    "data/pairs.py",
    "data/samples.py",
    "data/statistics.py",
    "heads",
    "models",
    "neighbors",
    "nn",
    "node_products",
    "verify",
)
"""Folders and modules of the package for computing and comparing potentials."""


def fingerprint(
    device: torch.device, code: tuple[str, ...] = PRODUCT_CODE
) -> dict[str, str]:
    """Fingerprint of hardware, versions and code, as JSON.

    Args:
        device: Device of the computation.
        code: Folders and modules of the package that the result depends on.
    """
    matmul = torch.backends.cuda.matmul
    found = {
        "hardware": device_name(device),
        "threads": str(torch.get_num_threads()),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "float32": f"{torch.get_float32_matmul_precision()}, TF32 {matmul.allow_tf32}",
        "equipot": equipot.__version__,
        "sources": _sources(code),
    }
    library = LIBRARIES.get(device.type)
    if library is not None and library.problem is None:
        found["compiled ops"] = _hash(library_path(device.type))
        if device.type == "cpu":
            found["instructions"] = cpu_instruction_set()
    return found | _versions()


@cache
def _versions() -> dict[str, str]:
    """Versions of the installed packages that affect results or speed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _sources(code: tuple[str, ...]) -> str:
    """Hash of source files, which detects edits.

    Raises:
        FileNotFoundError: If a folder or a module does not exist.
    """
    root = Path(equipot.__file__).parent
    total = hashlib.sha256()
    for name in code:
        place = root / name
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        for path in files:
            total.update(path.relative_to(root).as_posix().encode() + b"\0")
            total.update(path.read_bytes())
    return total.hexdigest()[:16]


@cache
def _hash(path: Path) -> str:
    """Shortened SHA-256 of a compiled library, cached per process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
