"""Tensor products: specification (`TensorProductSpec`) and backends.

`SO2Linear` is a convolution of another kind: it mixes channels, and architectures use
it directly instead of by a backend.
"""

from typing import Any

from equipot.tensor_products.availability import unavailable as unavailable
from equipot.tensor_products.base import (
    BackendUnavailableError as BackendUnavailableError,
)
from equipot.tensor_products.base import TensorProduct as TensorProduct
from equipot.tensor_products.base import UnsupportedSpecError as UnsupportedSpecError
from equipot.tensor_products.clebsch_gordan import ClebschGordan as ClebschGordan
from equipot.tensor_products.cuequivariance import CuEquivariance
from equipot.tensor_products.fused import Fused
from equipot.tensor_products.gaunt_fft import GauntFFT
from equipot.tensor_products.so2 import SO2
from equipot.tensor_products.so2_linear import LinearSpec as LinearSpec
from equipot.tensor_products.so2_linear import SO2Linear as SO2Linear
from equipot.tensor_products.so2_linear import random_mixing as random_mixing
from equipot.tensor_products.spec import Path as Path
from equipot.tensor_products.spec import TensorProductSpec as TensorProductSpec
from equipot.tensor_products.spherical_grid import SphericalGrid

BACKENDS: dict[str, type[TensorProduct[Any]]] = {
    "clebsch_gordan": ClebschGordan,
    "cuequivariance": CuEquivariance,
    "fused": Fused,
    "gaunt_fft": GauntFFT,
    "so2": SO2,
    "spherical_grid": SphericalGrid,
}
"""All backends by the name that configurations use."""

REFERENCE = "clebsch_gordan"
"""Reference backend, which defines the results of all others."""


def get_backend(name: str) -> type[TensorProduct[Any]]:
    """Backend class by name.

    Raises:
        ValueError: If there is no such backend; the message lists those that exist.
    """
    if name not in BACKENDS:
        raise ValueError(
            f"unknown tensor-product backend {name!r}; choose one of "
            f"{', '.join(sorted(BACKENDS))}"
        )
    return BACKENDS[name]


def backend_name(product: TensorProduct[Any]) -> str:
    """Registered name of the backend of a product; its class name if not registered."""
    return next(
        (name for name, backend in BACKENDS.items() if type(product) is backend),
        type(product).__name__,
    )
