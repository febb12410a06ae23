"""A potential as one safetensors file: weights, and a header that explains them."""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from ase import Atoms
from pydantic import ValidationError
from torch import Tensor

import equipot
from equipot.checkpoint.header import (
    check_finite,
    check_golden,
    check_samples,
    check_statistics,
    check_units,
    check_weights,
)
from equipot.checkpoint.origin import parse_origin
from equipot.config.model import ModelConfig, parse_model
from equipot.data.samples import sample_from_json, sample_to_json
from equipot.data.statistics import Statistics
from equipot.domain import Domain, FeatureCloud
from equipot.models.build import AUTO, build_potential
from equipot.models.potential import Potential
from equipot.models.products import is_reference, node_backend_of
from equipot.models.workload import typical_problem
from equipot.storage.tensor_file import (
    TensorFileError,
    digest,
    read_tensor_file,
    read_tensor_file_header,
    write_tensor_file,
)
from equipot.storage.user_cache import forget, recall, remember
from equipot.tensor_products import REFERENCE, UnsupportedSpecError, get_backend
from equipot.tensor_products.autotune import choose_backend
from equipot.tensor_products.fingerprint import MODEL_CODE, fingerprint
from equipot.verify.backend import check_backend, is_passed_record
from equipot.verify.golden import GoldenOutputs, golden_checks, golden_outputs
from equipot.verify.result import Check
from equipot.verify.structures import generate_structures

logger = logging.getLogger(__name__)

KIND = "potential"
FEATURES = "domain.features."
"""Prefix of tensors of the domain of validity."""
FORMAT_VERSION = 5
FIRST_WITH_GOLDEN = 4
"""Format version since which every file holds golden outputs."""
UNITS = {
    "energy": "eV",
    "length": "Å",
    "forces": "eV/Å",
    "stress": "eV/Å^3, positive in tension",
}
TOPIC = "verified"
"""Topic of the user cache for models that passed, by backend and machine."""


SEALED = ("model", "statistics", "units")
"""Sections of a header that belong to the golden outputs, key by key."""
UNSEALED = ("model.backend", "model.node_backend")
"""Keys of them that change neither function nor domain."""


class CheckpointError(ValueError):
    """A file does not hold a potential that this version can use."""


class GoldenOutputError(CheckpointError):
    """The outputs of a potential differ from its golden outputs."""

    def __init__(self, message: str, checks: Sequence[Check] = ()) -> None:
        super().__init__(message)
        self.checks = tuple(checks)


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
        sealed = {**golden["sealed"], "model.architecture": _seal(json.dumps("nequip"))}
        upgraded["golden"] = {**golden, "sealed": sealed}
    return upgraded


def _seal(text: str) -> str:
    """Hash of a value of a header, as JSON."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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


def save_potential(
    path: Path,
    potential: Potential,
    config: ModelConfig,
    statistics: Statistics,
    extra: Mapping[str, Any] | None = None,
    *,
    samples: Sequence[Atoms] = (),
    features: FeatureCloud | None = None,
    golden: GoldenOutputs | None = None,
) -> str:
    """Write a potential, and what it computes for a few structures.

    Args:
        path: File to replace, in one step; by convention ``*.safetensors``.
        potential: Its weights are stored bit for bit.
        config: What it was built from.
        statistics: Of its training data; the domain that it can be trusted in.
        extra: Further sections of the header, such as ``provenance`` and ``training``.
        samples: A few small structures to verify it on where it is loaded.
        features: What the network makes of its training set.
        golden: What `equipot.verify.golden.golden_outputs` returned for this potential,
            these samples and statistics; computed here if left out.

    Returns:
        SHA-256 of header and weights, in hexadecimal.

    Raises:
        ValueError: If a section of `extra` would hide one that is always there.
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
        raise ValueError(f"sections {sorted(clash)} of the header are already taken")
    cloud = {} if features is None else features.to_tensors()
    tensors = {
        **potential.state_dict(),
        **{f"{FEATURES}{name}": tensor for name, tensor in cloud.items()},
    }
    header["golden"]["sealed"] = _seals(header, tensors)
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
    if edited := _edited(header, tensors):
        raise CheckpointError(_refusal(path, header, (), edited))
    try:
        statistics = read_statistics(header)
        cloud = {
            name.removeprefix(FEATURES): tensor
            for name, tensor in tensors.items()
            if name.startswith(FEATURES)
        }
        if not cloud:
            return Domain.of(statistics)
        channels = parse_model(header["model"]).num_scalars
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
    remembered for this file, this machine and these versions. The potential is then
    compared, every time, with the golden outputs in the file: energies, forces and
    stress that the reference computed when it was saved. Files before format 4 have
    none.

    Args:
        path: File that training wrote.
        device: ``"auto"`` takes CUDA where there is one, else the CPU.
        dtype: ``"float32"`` or ``"float64"``; by default what it was trained in.
        backend: Tensor-product backend (default: as configured). ``"auto"``
            takes the fastest on this machine.
        verify: Whether to compare the backend with the reference, and the potential
            with its golden outputs.

    Raises:
        FileNotFoundError: If there is no file.
        CheckpointError: If it does not hold a potential that this version can use.
        GoldenOutputError: If outputs differ from the golden outputs.
        BackendMismatchError: If the backend differs from the reference.
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
    weights = _weights(tensors)
    try:
        check_weights(config, statistics, weights)  # before auto measures anything
    except ValueError as error:
        raise _not_fitting(path, error) from error
    if config.backend == AUTO:
        choice = choose_backend(typical_problem(config, statistics, where))
        logger.info("%s", choice)
        config = config.model_copy(update={"backend": choice.backend})
    try:
        potential = build_potential(config, statistics)
        potential.load_state_dict(weights)
        check_finite(potential)  # numbers that only float64 holds
    except UnsupportedSpecError:
        raise
    except (RuntimeError, ValueError) as error:
        raise _not_fitting(path, error) from error
    potential = potential.to(where).eval()
    if verify:
        known = is_reference(potential) or _check_once(potential, header)
        _check_golden(potential, path, header, tensors, check_again=known)
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


def _not_fitting(path: Path | str, error: Exception) -> CheckpointError:
    """Error of a file whose weights are not those of its header."""
    return CheckpointError(
        f"the weights in {path} do not fit its header: {str(error)[:1000]}"
    )


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
    """Refuse what is in all headers, and of wrong type or size in this one."""
    try:
        check_statistics(header.get("statistics"))
        check_samples(header.get("samples"))
        check_golden(header.get("golden"))
        check_units(header.get("units"))
        parse_origin(header.get("origin"))
    except ValueError as error:
        raise CheckpointError(f"{path} has an unreadable header: {error}") from error


def _check_once(potential: Potential, header: Mapping[str, Any]) -> bool:
    """Compare with the reference, unless that was done here before.

    Returns:
        Whether it was done before.
    """
    question = _question(potential, header)
    answer = recall(TOPIC, question)
    if answer is not None:
        if is_passed_record(answer, potential.backend):
            return True
        logger.warning(
            "what was remembered of backend %s is damaged: it is compared anew",
            potential.backend,
        )
    verification = check_backend(potential, read_samples(header))
    if verification is not None:
        logger.info("%s", verification)
        remember(TOPIC, question, verification.as_dict())
    return False


def _question(potential: Potential, header: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that a verdict about a backend depends on."""
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
    """Refuse a potential that computes something else than when it was saved.

    Args:
        potential: As it was loaded.
        path: Of its file.
        header: Of the file.
        tensors: Of the file.
        check_again: Whether the verdict about its backend was a remembered one, which
            is doubted if a number differs.
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
    edited = _edited(header, tensors)
    if not failures and not edited:
        return
    if failures and not edited and check_again and not is_reference(potential):
        forget(TOPIC, _question(potential, header))
        check_backend(potential, read_samples(header))
    raise GoldenOutputError(_refusal(path, header, failures, edited), failures)


def _seals(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """A hash of each key of a header, and of each tensor of a domain.

    Golden outputs show what changes a prediction. These show the rest: where a model
    can be trusted, and in what units.
    """
    plain = json.loads(json.dumps({name: header[name] for name in SEALED}))
    keys = {
        f"{name}.{key}": value
        for name in SEALED
        for key, value in plain[name].items()
        if f"{name}.{key}" not in UNSEALED
    }
    cloud = {k: v for k, v in tensors.items() if k.startswith(FEATURES)}
    texts = {key: json.dumps(value, sort_keys=True) for key, value in keys.items()}
    texts["samples"] = json.dumps(header["samples"], sort_keys=True)
    texts[FEATURES.rstrip(".")] = digest(cloud)
    return {key: _seal(text) for key, text in texts.items()}


def _edited(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> list[str]:
    """Keys that are not what they were when the golden outputs were computed."""
    if header["golden"] is None:
        return []
    before = header["golden"]["sealed"]
    now = _seals(header, tensors)
    return [key for key in {**before, **now} if before.get(key) != now.get(key)]


def _refusal(
    path: Path | str,
    header: Mapping[str, Any],
    failures: Sequence[Check],
    edited: Sequence[str],
) -> str:
    """Why a file is refused, with numbers, and what to do."""
    lines = [str(check) for check in failures]
    lines += [f"{key} is now {_value(header, key)}" for key in edited]
    found = "\n".join(f"  {line}" for line in lines)
    reason = (
        "the file was edited after it was saved: get a fresh copy"
        if edited
        else (
            "the file was edited, or the code that computes it was: it was written by "
            f"equipot {str(header.get('equipot_version'))[:20]}, this is "
            f"{equipot.__version__}. Get a fresh copy of what changed; with "
            "verify=False it is loaded nevertheless"
        )
    )
    return f"{path} is not the model that was saved:\n{found}\n{reason}"


def _value(header: Mapping[str, Any], key: str) -> str:
    """Value of a key such as ``statistics.cutoff``, shortened."""
    section, _, name = key.partition(".")
    if section in SEALED:
        return str(header[section].get(name, "missing"))[:80]
    return "another one"


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
