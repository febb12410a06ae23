"""What the result and the speed of a backend depend on, beside its input."""

import hashlib
import json
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

import equipot
from equipot.hardware import device_name
from equipot.ops.library import LIBRARIES

PACKAGES = (
    "torch",
    "cuequivariance-torch",
    "cuequivariance-ops-torch-cu12",
    "cuequivariance-ops-torch-cu13",
)
CODE = ("tensor_products", "ops", "so3", ".")
"""Folders of the package with all that backends are made of."""


def fingerprint(device: torch.device) -> dict[str, str]:
    """Hardware, versions and code of the backends, as JSON.

    Args:
        device: Where they compute.
    """
    found = {
        "hardware": device_name(device),
        "threads": str(torch.get_num_threads()),
        "deterministic": str(torch.are_deterministic_algorithms_enabled()),
        "equipot": equipot.__version__,
        "sources": _sources(),
    }
    if (library := LIBRARIES.get(device.type)) is not None:
        manifest = json.dumps(library.manifest, sort_keys=True)
        found["compiled ops"] = hashlib.sha256(manifest.encode()).hexdigest()[:16]
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


@cache
def _sources() -> str:
    """Hash of the code of the backends: what was measured may have been edited."""
    root = Path(equipot.__file__).parent
    total = hashlib.sha256()
    for folder in CODE:
        for path in sorted((root / folder).glob("*.py")):
            total.update(path.read_bytes())
    return total.hexdigest()[:16]
