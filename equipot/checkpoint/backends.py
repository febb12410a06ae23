"""Describe whether a backend supports a model on this machine."""

from collections.abc import Mapping
from typing import Any

from equipot.checkpoint.file import read_statistics, resolve_device
from equipot.config.model import parse_model
from equipot.models.build import product_specs, unsupported
from equipot.models.products import AUTO
from equipot.models.workload import typical_problem
from equipot.tensor_products import get_backend, unavailable
from equipot.tensor_products.autotune import Choice, choose_backend


def describe_backend(header: Mapping[str, Any], backend: str) -> str:
    """Whether a backend supports a model here; for "auto", which one is chosen.

    Args:
        header: Result of `equipot.checkpoint.file.read_header`.
        backend: Name of a backend, or "auto".

    Raises:
        ValueError: If there is no such backend.
    """
    if backend == AUTO:
        return str(choose_for(header))
    get_backend(backend)
    specs = product_specs(parse_model(header["model"]))
    reason = unsupported(backend, specs) or unavailable(backend, resolve_device("auto"))
    if reason is not None:
        return f"backend {backend} does not support this model here: {reason}"
    return (
        f"backend {backend} supports this model here; equipot verify --backend "
        f"{backend} compares it with the reference"
    )


def choose_for(
    header: Mapping[str, Any], device: str = "auto", dtype: str | None = None
) -> Choice:
    """Backend that "auto" selects for a model.

    Args:
        header: Result of `equipot.checkpoint.file.read_header`.
        device: ``"auto"`` is CUDA if available, else the CPU.
        dtype: ``"float32"`` or ``"float64"`` (default: as trained).
    """
    config = parse_model(header["model"])
    if dtype is not None:
        config = config.model_copy(update={"dtype": dtype})
    return choose_backend(
        typical_problem(config, read_statistics(header), resolve_device(device))
    )
