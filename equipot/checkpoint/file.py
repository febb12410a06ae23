"""A potential as one safetensors file: weights, and a header that explains them."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from pydantic import ValidationError
from torch import Tensor

import equipot
from equipot.checkpoint.errors import CheckpointError, GoldenOutputError
from equipot.checkpoint.header import (
    check_depth,
    check_finite,
    check_golden,
    check_samples,
    check_statistics,
    check_units,
    check_weights,
)
from equipot.checkpoint.origin import parse_origin
from equipot.checkpoint.seals import FEATURES, edited_keys, refusal, seals
from equipot.checkpoint.upgrade import FORMAT_VERSION, upgrade
from equipot.config.model import ModelConfig, parse_model
from equipot.data.samples import sample_from_json, sample_to_json
from equipot.data.statistics import Statistics
from equipot.domain import Domain, FeatureDistribution
from equipot.models.build import build_potential, feature_channels
from equipot.models.potential import Potential
from equipot.models.products import AUTO, is_reference, node_backend_of
from equipot.models.workload import typical_problem
from equipot.storage.tensor_file import (
    TensorFileError,
    read_tensor_file,
    read_tensor_file_header,
    write_tensor_file,
)
from equipot.storage.user_cache import delete_cached, load_cached, store_cached
from equipot.tensor_products import REFERENCE, UnsupportedSpecError, get_backend
from equipot.tensor_products.autotune import choose_backend
from equipot.tensor_products.fingerprint import MODEL_CODE, fingerprint
from equipot.verify.backend import check_backend, is_passed_record
from equipot.verify.golden import GoldenOutputs, golden_checks, golden_outputs
from equipot.verify.structures import generate_structures

logger = logging.getLogger(__name__)

KIND = "potential"
UNITS = {
    "energy": "eV",
    "length": "Å",
    "forces": "eV/Å",
    "stress": "eV/Å^3, positive in tension",
}
TOPIC = "verified"
"""Topic of the user cache for passed comparisons of backends."""


def save_potential(
    path: Path,
    potential: Potential,
    config: ModelConfig,
    statistics: Statistics,
    extra: Mapping[str, Any] | None = None,
    *,
    samples: Sequence[Atoms] = (),
    features: FeatureDistribution | None = None,
    golden: GoldenOutputs | None = None,
) -> str:
    """Write a potential and its golden outputs.

    Args:
        path: File to replace, in one step; by convention ``*.safetensors``.
        potential: Potential; weights are stored bit for bit.
        config: Configuration of the architecture.
        statistics: Statistics of the training set, which define the domain of validity.
        extra: Further sections of the header, such as ``provenance`` and ``training``.
        samples: A few small structures for verification after loading.
        features: Distribution of learned features of the training set.
        golden: Result of `equipot.verify.golden.golden_outputs` for this potential,
            these samples and statistics (default: computed here).

    Returns:
        SHA-256 of header and weights, in hexadecimal.

    Raises:
        ValueError: If a section of `extra` has the name of a standard section.
    """
    if golden is None:
        golden = golden_outputs(potential, samples, statistics)
    header: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "equipot_version": equipot.__version__,
        "model": config.model_dump(mode="json"),
        "statistics": dataclasses.asdict(statistics),
        "units": UNITS,
        "samples": [sample_to_json(atoms) for atoms in samples],
        "backend_used": potential.backend,
        "golden": golden.to_json(),
    }
    if clash := set(header) & set(extra or {}):
        raise ValueError(f"sections {sorted(clash)} of the header are reserved")
    cloud = {} if features is None else features.to_tensors()
    tensors = {
        **potential.state_dict(),
        **{f"{FEATURES}{name}": tensor for name, tensor in cloud.items()},
    }
    header["golden"]["sealed"] = seals(header, tensors)
    return write_tensor_file(path, KIND, {**header, **(extra or {})}, tensors)


def read_header(path: Path | str) -> dict[str, Any]:
    """Read the header: format, model, statistics, units, provenance, hash.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If it is not a potential, or has a newer format.
    """
    try:
        header = upgrade(read_tensor_file_header(Path(path), KIND), Path(path))
    except TensorFileError as error:
        raise CheckpointError(str(error)) from error
    _check_header(header, path)
    return header


def read_statistics(header: Mapping[str, Any]) -> Statistics:
    """Read the statistics of the training set from a header."""
    return Statistics.from_dict(header["statistics"])


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Read the weights of a potential without building it.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If the file is not a potential, or is damaged.
    """
    return _weights(_read(path)[1])


def load_domain(path: Path | str) -> Domain:
    """Read the domain of validity of a potential.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If the file is not a potential, or its domain is damaged.
    """
    header, tensors = _read(path)
    if edited := edited_keys(header, tensors):
        raise CheckpointError(refusal(path, header, (), edited))
    # the domain does not depend on the backend, which only newer versions may have
    config, statistics = _read_config(header, path, REFERENCE)
    try:
        cloud = {
            name.removeprefix(FEATURES): tensor
            for name, tensor in tensors.items()
            if name.startswith(FEATURES)
        }
        if not cloud:
            return Domain.of(statistics)
        check_depth(config, tensors)
        channels = feature_channels(config)
        features = FeatureDistribution.from_tensors(
            cloud, statistics.elements, channels
        )
        return Domain.of(statistics, features)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} has an unreadable domain: {error}") from error


def read_samples(header: Mapping[str, Any]) -> list[Atoms]:
    """Sample structures of a model; generated ones if it has none.

    Raises:
        CheckpointError: If they are invalid.
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
    """Load a potential for predictions.

    A backend other than the reference is first compared with it: energy, forces, stress
    and Hessian-vector products, on structures stored in the file. A passed comparison
    is cached for this file, machine and versions. The potential is then always compared
    with the golden outputs in the file: energies, forces and stress of the reference
    backend when it was saved. Files of formats before 4 have none.

    Args:
        path: Model file written by training.
        device: ``"auto"`` is CUDA if available, else the CPU.
        dtype: ``"float32"`` or ``"float64"`` (default: as trained).
        backend: Tensor-product backend (default: as configured). ``"auto"``
            selects the fastest on this machine.
        verify: Whether to compare the backend with the reference, and the potential
            with its golden outputs.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If it is not a potential that this version supports.
        GoldenOutputError: If outputs differ from the golden outputs.
        BackendMismatchError: If the backend differs from the reference.
        UnsupportedSpecError: If the backend does not support the products of the model.
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
    weights = _weights(tensors)
    try:
        check_weights(config, statistics, weights)  # before "auto" runs benchmarks
    except ValueError as error:
        raise _mismatch(path, error) from error
    if config.backend == AUTO:
        choice = choose_backend(typical_problem(config, statistics, where))
        logger.info("%s", choice)
        config = config.model_copy(update={"backend": choice.backend})
    try:
        potential = build_potential(config, statistics)
        potential.load_state_dict(weights)
        check_finite(potential)  # float64 values may overflow in float32
    except UnsupportedSpecError:
        raise
    except (RuntimeError, ValueError) as error:
        raise _mismatch(path, error) from error
    potential = potential.to(where).eval()
    if verify:
        known = is_reference(potential) or _check_once(potential, header)
        _check_golden(potential, path, header, tensors, check_again=known)
    return potential


def _read(path: Path | str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header, upgraded to the current format, and tensors."""
    try:
        header, tensors = read_tensor_file(Path(path), KIND)
    except TensorFileError as error:
        raise CheckpointError(str(error)) from error
    header = upgrade(header, Path(path))
    _check_header(header, path)
    return header, tensors


def _mismatch(path: Path | str, error: Exception) -> CheckpointError:
    """Error for a file whose weights do not match its header."""
    return CheckpointError(
        f"the weights in {path} do not match its header: {str(error)[:1000]}"
    )


def _weights(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the potential, without those of its domain."""
    return {k: v for k, v in tensors.items() if not k.startswith(FEATURES)}


def resolve_device(device: str) -> torch.device:
    """Device by name; ``"auto"`` is CUDA if available, else the CPU.

    Raises:
        ValueError: If the device is unknown or not available.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"unknown device {device!r}; use auto, cpu or cuda") from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device {device!r} is not available: PyTorch finds no GPU; use auto "
            "or cpu (equipot doctor lists the hardware)"
        )
    return resolved


def _read_config(
    header: Mapping[str, Any], path: Path | str, backend: str | None
) -> tuple[ModelConfig, Statistics]:
    """Architecture and statistics, with the requested backend."""
    if backend is not None and backend != AUTO:
        get_backend(backend)
    model = header.get("model")
    if backend is not None and isinstance(model, Mapping):
        # The file may specify a backend of a newer version
        model = {**model, "backend": REFERENCE}
    try:
        config = parse_model(model)
        statistics = read_statistics(header)
    except (KeyError, TypeError, ValidationError) as error:
        raise CheckpointError(
            f"{path} has an unreadable header: {str(error)[:1000]}"
        ) from error
    if backend is not None:
        config = config.model_copy(update={"backend": backend})
    return config, statistics


def _check_header(header: Mapping[str, Any], path: Path | str) -> None:
    """Reject entries of wrong type or size in the sections of every header."""
    try:
        check_statistics(header.get("statistics"))
        check_samples(header.get("samples"))
        check_golden(header.get("golden"))
        check_units(header.get("units"))
        parse_origin(header.get("origin"))
    except ValueError as error:
        raise CheckpointError(f"{path} has an unreadable header: {error}") from error


def _check_once(potential: Potential, header: Mapping[str, Any]) -> bool:
    """Compare with the reference backend, unless a passed comparison is cached.

    Returns:
        Whether it was cached.
    """
    question = _question(potential, header)
    answer = load_cached(TOPIC, question)
    if answer is not None:
        if is_passed_record(answer, potential.backend):
            return True
        logger.warning(
            "the cached verification of backend %s is damaged: it is compared again",
            potential.backend,
        )
    verification = check_backend(potential, read_samples(header))
    if verification is not None:
        logger.info("%s", verification)
        store_cached(TOPIC, question, verification.as_dict())
    return False


def _question(potential: Potential, header: Mapping[str, Any]) -> dict[str, Any]:
    """Cache key of a backend comparison."""
    backend = get_backend(potential.backend)
    return {
        **fingerprint(potential.device, MODEL_CODE),
        "model": header["sha256"],
        "backend": f"{backend.__module__}.{backend.__qualname__}",
        "node_backend": node_backend_of(potential),
        "dtype": str(potential.dtype),
    }


def _check_golden(
    potential: Potential,
    path: Path | str,
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    check_again: bool,
) -> None:
    """Reject a potential whose outputs differ from its golden outputs.

    Args:
        potential: Potential as loaded.
        path: Model file.
        header: Header of the file.
        tensors: Tensors of the file.
        check_again: Whether the backend comparison was cached; it is repeated if an
            output differs.
    """
    if header["golden"] is None:
        return
    try:
        samples = [sample_from_json(values) for values in header["samples"]]
        golden = GoldenOutputs.from_json(header["golden"])
        checks = golden_checks(potential, samples, golden)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be compared: {error}") from error
    failures = [check for check in checks if not check.passed]
    edited = edited_keys(header, tensors)
    if not failures and not edited:
        return
    if failures and not edited and check_again and not is_reference(potential):
        delete_cached(TOPIC, _question(potential, header))
        check_backend(potential, read_samples(header))
    raise GoldenOutputError(refusal(path, header, failures, edited), failures)
