"""Conversion of headers of earlier format versions."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from equipot.checkpoint.errors import CheckpointError
from equipot.checkpoint.seals import seal

FORMAT_VERSION = 5
FIRST_WITH_GOLDEN = 4
"""First format version with golden outputs."""


def _reject_old_repulsion(header: dict[str, Any]) -> dict[str, Any]:
    if header["model"].get("zbl"):
        raise CheckpointError(
            "a model of format version 2 with model.zbl has a repulsion that this "
            "version of equipot does not support: train it again"
        )
    return header


def _without_golden_outputs(header: dict[str, Any]) -> dict[str, Any]:
    if "golden" in header:
        raise CheckpointError(
            "the file has golden outputs, although its format version has none: it "
            "was edited after it was saved; get an intact copy"
        )
    return {**header, "golden": None}


def _name_architecture(header: dict[str, Any]) -> dict[str, Any]:
    if "architecture" in header["model"]:
        raise CheckpointError(
            "the file has an architecture key, although its format has none: it was "
            "edited after it was saved; get an intact copy"
        )
    upgraded = {**header, "model": {**header["model"], "architecture": "nequip"}}
    if isinstance(golden := header["golden"], dict):
        sealed = {**golden["sealed"], "model.architecture": seal(json.dumps("nequip"))}
        upgraded["golden"] = {**golden, "sealed": sealed}
    return upgraded


UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    # Version 2 stores sample structures, and the tensor-product backend
    1: lambda header: {
        **header,
        "samples": [],
        "backend_used": header["model"]["backend"],
    },
    # Version 3 has more statistics (unknown by default), tensors of a domain, and
    # another end of the ZBL repulsion
    2: _reject_old_repulsion,
    # Version 4 has golden outputs, which have no default
    3: _without_golden_outputs,
    # Version 5 has the architecture; earlier versions had a single one
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
            f"{path} has format version {str(version)[:20]}, this version reads up to "
            f"{FORMAT_VERSION}: it was written by equipot "
            f"{str(header.get('equipot_version'))[:20]}; upgrade equipot"
        )
    if version >= FIRST_WITH_GOLDEN and not isinstance(header.get("golden"), dict):
        raise CheckpointError(
            f"{path} has no golden outputs, but format {version} requires them: "
            "it was edited after it was saved; get an intact copy"
        )
    try:
        for step in range(version, FORMAT_VERSION):
            header = {**UPGRADES[step](header), "format_version": step + 1}
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has an unreadable header: {error}") from error
    return header
