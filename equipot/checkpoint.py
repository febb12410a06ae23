"""A potential as one safetensors file: weights, and a header that explains them."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

import equipot
from equipot.config.model import ModelConfig
from equipot.data.statistics import Statistics
from equipot.models.build import build_potential
from equipot.models.potential import Potential
from equipot.tensor_file import (
    TensorFileError,
    read_tensor_file,
    read_tensor_file_header,
    write_tensor_file,
)

KIND = "potential"
FORMAT_VERSION = 1
UNITS = {
    "energy": "eV",
    "length": "Å",
    "forces": "eV/Å",
    "stress": "eV/Å^3, positive in tension",
}
UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""How to turn a header of a version into one of the next."""


class CheckpointError(ValueError):
    """A file does not hold a potential that this version can use."""


def save_potential(
    path: Path,
    potential: Potential,
    config: ModelConfig,
    statistics: Statistics,
    extra: Mapping[str, Any] | None = None,
) -> str:
    """Write a potential.

    Args:
        path: File to replace, in one step; by convention ``*.safetensors``.
        potential: Its weights are stored bit for bit.
        config: What it was built from.
        statistics: Of its training data; the domain that it can be trusted in.
        extra: Further sections of the header, such as ``provenance`` and ``training``.

    Returns:
        SHA-256 of header and weights, in hexadecimal.

    Raises:
        ValueError: If a section of `extra` would hide one that is always there.
    """
    header: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "equipot_version": equipot.__version__,
        "model": config.model_dump(mode="json"),
        "statistics": dataclasses.asdict(statistics),
        "units": UNITS,
    }
    if clash := set(header) & set(extra or {}):
        raise ValueError(f"sections {sorted(clash)} of the header are already taken")
    return write_tensor_file(
        path, KIND, {**header, **(extra or {})}, potential.state_dict()
    )


def read_header(path: Path | str) -> dict[str, Any]:
    """Header of a potential: format, model, statistics, units, provenance, hash.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If it does not hold a potential, or one of a newer format.
    """
    try:
        return _upgrade(read_tensor_file_header(Path(path), KIND), Path(path))
    except TensorFileError as error:
        raise CheckpointError(str(error)) from error


def read_statistics(header: Mapping[str, Any]) -> Statistics:
    """Statistics of the training data from a header."""
    return Statistics.from_dict(header["statistics"])


def load_potential(
    path: Path | str,
    *,
    device: str = "auto",
    dtype: str | None = None,
    backend: str | None = None,
) -> Potential:
    """Read a potential, ready to predict.

    Args:
        path: File that training wrote.
        device: ``"auto"`` takes CUDA where there is one, else the CPU.
        dtype: ``"float32"`` or ``"float64"``; by default what it was trained in.
        backend: Who computes the tensor products; by default as configured.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If it does not hold a potential that this version can use.
        ValueError: If device, dtype or backend are unknown.
    """
    try:
        header, tensors = read_tensor_file(Path(path), KIND)
    except TensorFileError as error:
        raise CheckpointError(str(error)) from error
    header = _upgrade(header, Path(path))
    try:
        config = ModelConfig.model_validate(header["model"])
        statistics = read_statistics(header)
    except (KeyError, TypeError, ValidationError) as error:
        raise CheckpointError(f"{path} has an unreadable header: {error}") from error
    if dtype is not None:
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        config = config.model_copy(update={"dtype": dtype})
    if backend is not None:
        config = config.model_copy(update={"backend": backend})
    potential = build_potential(config, statistics)
    try:
        potential.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"the weights in {path} do not fit its header: {error}"
        ) from error
    return potential.to(resolve_device(device)).eval()


def resolve_device(device: str) -> torch.device:
    """Device of a name; ``"auto"`` takes CUDA where there is one, else the CPU.

    Raises:
        ValueError: If the device is unknown or not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"unknown device {device!r}; choose auto, cpu or cuda"
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device {device!r} was asked for, but PyTorch finds no GPU; choose auto "
            "or cpu (equipot doctor shows what there is)"
        )
    return resolved


def _upgrade(header: dict[str, Any], path: Path) -> dict[str, Any]:
    version = header.get("format_version")
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{path} has no valid format version, got {version!r}")
    if version > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {version}, this equipot reads up to "
            f"{FORMAT_VERSION}: it was written by equipot "
            f"{header.get('equipot_version')}; upgrade equipot"
        )
    for step in range(version, FORMAT_VERSION):
        header = {**UPGRADES[step](header), "format_version": step + 1}
    return header
