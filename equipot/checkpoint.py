"""A potential as one safetensors file: weights, and a header that explains them."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from pydantic import ValidationError
from torch import Tensor

import equipot
from equipot.config.model import ModelConfig
from equipot.data.samples import sample_from_json, sample_to_json
from equipot.data.statistics import Statistics
from equipot.domain import Domain, FeatureCloud
from equipot.model_header import (
    check_finite,
    check_samples,
    check_statistics,
    check_weights,
)
from equipot.models.build import AUTO, build_potential
from equipot.models.potential import Potential
from equipot.models.workload import typical_problem
from equipot.tensor_file import (
    TensorFileError,
    read_tensor_file,
    read_tensor_file_header,
    write_tensor_file,
)
from equipot.tensor_products import REFERENCE, UnsupportedSpecError, get_backend
from equipot.tensor_products.autotune import choose_backend
from equipot.tensor_products.fingerprint import fingerprint
from equipot.user_cache import recall, remember
from equipot.verify.backend import check_backend
from equipot.verify.structures import generate_structures

logger = logging.getLogger(__name__)

KIND = "potential"
FEATURES = "domain.features."
"""What the names of tensors begin with that describe a domain, not a potential."""
FORMAT_VERSION = 3
UNITS = {
    "energy": "eV",
    "length": "Å",
    "forces": "eV/Å",
    "stress": "eV/Å^3, positive in tension",
}
TOPIC = "verified"
"""Where the user's cache remembers models that passed, by backend and machine."""


class CheckpointError(ValueError):
    """A file does not hold a potential that this version can use."""


def _refuse_old_repulsion(header: dict[str, Any]) -> dict[str, Any]:
    if header["model"].get("zbl"):
        raise CheckpointError(
            "a model of format version 2 with model.zbl has a repulsion that this "
            "equipot no longer computes: train it again"
        )
    return header


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
}
"""How to turn a header of a version into one of the next."""


def save_potential(
    path: Path,
    potential: Potential,
    config: ModelConfig,
    statistics: Statistics,
    extra: Mapping[str, Any] | None = None,
    *,
    samples: Sequence[Atoms] = (),
    features: FeatureCloud | None = None,
) -> str:
    """Write a potential.

    Args:
        path: File to replace, in one step; by convention ``*.safetensors``.
        potential: Its weights are stored bit for bit.
        config: What it was built from.
        statistics: Of its training data; the domain that it can be trusted in.
        extra: Further sections of the header, such as ``provenance`` and ``training``.
        samples: A few small structures that whoever loads it can verify it on.
        features: What the network makes of its training set.

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
        "samples": [sample_to_json(atoms) for atoms in samples],
        "backend_used": potential.backend,
    }
    if clash := set(header) & set(extra or {}):
        raise ValueError(f"sections {sorted(clash)} of the header are already taken")
    cloud = {} if features is None else features.to_tensors()
    tensors = {
        **potential.state_dict(),
        **{f"{FEATURES}{name}": tensor for name, tensor in cloud.items()},
    }
    return write_tensor_file(path, KIND, {**header, **(extra or {})}, tensors)


def read_header(path: Path | str) -> dict[str, Any]:
    """Header of a potential: format, model, statistics, units, provenance, hash.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If it does not hold a potential, or one of a newer format.
    """
    try:
        header = _upgrade(read_tensor_file_header(Path(path), KIND), Path(path))
    except TensorFileError as error:
        raise CheckpointError(str(error)) from error
    _check_header(header, path)
    return header


def read_statistics(header: Mapping[str, Any]) -> Statistics:
    """Statistics of the training data from a header."""
    return Statistics.from_dict(header["statistics"])


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Weights of a potential, without a potential.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If it does not hold a potential, or is damaged.
    """
    return _weights(_read(path)[1])


def load_domain(path: Path | str) -> Domain:
    """Where a potential was trained.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If it does not hold a potential, or its domain is damaged.
    """
    header, tensors = _read(path)
    try:
        statistics = read_statistics(header)
        cloud = {
            name.removeprefix(FEATURES): tensor
            for name, tensor in tensors.items()
            if name.startswith(FEATURES)
        }
        if not cloud:
            return Domain.of(statistics)
        channels = header["model"]["channels"]
        features = FeatureCloud.from_tensors(cloud, statistics.elements, channels)
        return Domain.of(statistics, features)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} has an unreadable domain: {error}") from error


def read_samples(header: Mapping[str, Any]) -> list[Atoms]:
    """Structures that a model carries; generated ones if it carries none.

    Raises:
        CheckpointError: If they are damaged.
    """
    try:
        samples = [sample_from_json(values) for values in header["samples"]]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"unreadable sample structures: {error}") from error
    return samples or generate_structures(read_statistics(header))


def load_potential(
    path: Path | str,
    *,
    device: str = "auto",
    dtype: str | None = None,
    backend: str | None = None,
    verify: bool = True,
) -> Potential:
    """Read a potential, ready to predict.

    A backend other than the reference is compared with it first: energy, forces, stress
    and Hessian-vector products, on structures that the file carries. What has passed is
    remembered for this file, this machine and these versions.

    Args:
        path: File that training wrote.
        device: ``"auto"`` takes CUDA where there is one, else the CPU.
        dtype: ``"float32"`` or ``"float64"``; by default what it was trained in.
        backend: Who computes the tensor products; by default as configured. ``"auto"``
            takes the fastest on this machine.
        verify: Whether to compare the backend with the reference.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If it does not hold a potential that this version can use.
        BackendMismatchError: If the backend does not compute what the reference does.
        UnsupportedSpecError: If the backend cannot compute the products of the model.
        BackendUnavailableError: If the backend cannot run here.
        ValueError: If device, dtype or backend are unknown.
    """
    header, tensors = _read(path)
    config, statistics = _read_config(header, path, backend)
    if dtype is not None:
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be float32 or float64, got {dtype!r}")
        config = config.model_copy(update={"dtype": dtype})
    where = resolve_device(device)
    if config.backend == AUTO:
        choice = choose_backend(typical_problem(config, statistics, where))
        logger.info("%s", choice)
        config = config.model_copy(update={"backend": choice.backend})
    try:
        weights = _weights(tensors)
        check_weights(config, statistics, weights)
        potential = build_potential(config, statistics)
        potential.load_state_dict(weights)
        check_finite(potential)  # numbers that only float64 holds
    except UnsupportedSpecError:
        raise
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(
            f"the weights in {path} do not fit its header: {str(error)[:1000]}"
        ) from error
    potential = potential.to(where).eval()
    if verify and potential.backend != REFERENCE:
        _check_once(potential, header)
    return potential


def _read(path: Path | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header, in the present format, and tensors."""
    try:
        header, tensors = read_tensor_file(Path(path), KIND)
    except TensorFileError as error:
        raise CheckpointError(str(error)) from error
    header = _upgrade(header, Path(path))
    _check_header(header, path)
    return header, tensors


def _weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the potential, without those of its domain."""
    return {k: v for k, v in tensors.items() if not k.startswith(FEATURES)}


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


def _read_config(
    header: Mapping[str, Any], path: Path | str, backend: str | None
) -> tuple[ModelConfig, Statistics]:
    """Architecture and statistics, with the backend that was asked for."""
    if backend is not None and backend != AUTO:
        get_backend(backend)
    model = header.get("model")
    if backend is not None and isinstance(model, Mapping):
        # The file may name a backend that only newer versions have.
        model = {**model, "backend": REFERENCE}
    try:
        config = ModelConfig.model_validate(model)
        statistics = read_statistics(header)
    except (KeyError, TypeError, ValidationError) as error:
        raise CheckpointError(
            f"{path} has an unreadable header: {str(error)[:1000]}"
        ) from error
    if backend is not None:
        config = config.model_copy(update={"backend": backend})
    return config, statistics


def _check_header(header: Mapping[str, Any], path: Path | str) -> None:
    """Refuse what is in all headers, and of wrong type or size in this one."""
    try:
        check_statistics(header.get("statistics"))
        check_samples(header.get("samples"))
    except ValueError as error:
        raise CheckpointError(f"{path} has an unreadable header: {error}") from error


def _check_once(potential: Potential, header: Mapping[str, Any]) -> None:
    """Compare with the reference, unless that was done here before."""
    backend = get_backend(potential.backend)
    question = {
        **fingerprint(potential.device),
        "model": header["sha256"],
        "backend": f"{backend.__module__}.{backend.__qualname__}",
        "dtype": str(potential.dtype),
    }
    if recall(TOPIC, question) is not None:
        return
    verification = check_backend(potential, read_samples(header))
    if verification is not None:
        logger.info("%s", verification)
        remember(TOPIC, question, {"found": str(verification)})


def _upgrade(header: dict[str, Any], path: Path) -> dict[str, Any]:
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
    try:
        for step in range(version, FORMAT_VERSION):
            header = {**UPGRADES[step](header), "format_version": step + 1}
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path} has an unreadable header: {error}") from error
    return header
