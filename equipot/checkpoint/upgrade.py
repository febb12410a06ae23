"""Conversion of headers of earlier format versions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from equipot.checkpoint.errors import CheckpointError
from equipot.checkpoint.seals import seal

FORMAT_VERSION = 5
FIRST_WITH_GOLDEN = 4
"""Format version since which every file holds golden outputs."""


def _refuse_old_repulsion(header: dict[str, Any]) -> dict[str, Any]:
    if header["model"].get("zbl"):
        raise CheckpointError(
            "a model of format version 2 with model.zbl has a repulsion that this "
            "equipot no longer computes: train it again"
        )
    return header


def _without_golden_outputs(header: dict[str, Any]) -> dict[str, Any]:
    if "golden" in header:
        raise CheckpointError(
            "the file has golden outputs, which its format version does not have: it "
            "was edited after it was saved; get a fresh copy"
        )
    return {**header, "golden": None}


def _name_architecture(header: dict[str, Any]) -> dict[str, Any]:
    if "architecture" in header["model"]:
        raise CheckpointError(
            "the file names an architecture, which its format version does not: it was "
            "edited after it was saved; get a fresh copy"
        )
    upgraded = {**header, "model": {**header["model"], "architecture": "nequip"}}
    if isinstance(golden := header["golden"], dict):
        sealed = {**golden["sealed"], "model.architecture": seal(json.dumps("nequip"))}
        upgraded["golden"] = {**golden, "sealed": sealed}
    return upgraded


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    # Version 2 stores structures to verify on, and who computed the tensor products.
    1: lambda header: {
        **header,
        "samples": [],
        "backend_used": header["model"]["backend"],
    },
    # Version 3 has more statistics, which default to unknown, tensors of a domain, and
    # another end of the ZBL repulsion.
    2: _refuse_old_repulsion,
    # Version 4 has golden outputs, which nothing can replace.
    3: _without_golden_outputs,
    # Version 5 names the architecture, of which there was one before.
    4: _name_architecture,
}
"""Conversion of a header to the next format version."""


def upgrade(header: dict[str, Any], path: Path) -> dict[str, Any]:
    """Header of the present format version from one of any earlier version.

    Args:
        header: As stored in the file.
        path: File, named in errors.

    Raises:
        CheckpointError: If the version is unknown, or the header cannot be converted.
    """
    version = header.get("format_version")
    if type(version) is not int or version < 1:
        raise CheckpointError(
            f"{path} has no valid format version, got {repr(version)[:20]}"
        )
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {str(version)[:20]}, this equipot reads up to "
            f"{FORMAT_VERSION}: it was written by equipot "
            f"{str(header.get('equipot_version'))[:20]}; upgrade equipot"
        )
    if version >= FIRST_WITH_GOLDEN and not isinstance(header.get("golden"), dict):
        raise CheckpointError(
            f"{path} has no golden outputs, which every file of format {version} has: "
            "it was edited after it was saved; get a fresh copy"
        )
    try:
        for step in range(version, FORMAT_VERSION):
            header = {**UPGRADES[step](header), "format_version": step + 1}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has an unreadable header: {error}") from error
    return header
