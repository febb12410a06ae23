"""Tensor products: what is computed (`TensorProductSpec`) and who computes it."""

from typing import Any

from equipot.tensor_products.base import TensorProduct as TensorProduct
from equipot.tensor_products.base import UnsupportedSpecError as UnsupportedSpecError
from equipot.tensor_products.clebsch_gordan import ClebschGordan as ClebschGordan
from equipot.tensor_products.spec import Path as Path
from equipot.tensor_products.spec import TensorProductSpec as TensorProductSpec

BACKENDS: dict[str, type[TensorProduct[Any]]] = {
    "clebsch_gordan": ClebschGordan,
}
"""All backends by the name that configurations use."""


def get_backend(name: str) -> type[TensorProduct[Any]]:
    """Backend of a name.

    Raises:
        ValueError: If there is none; the message lists those that exist.
    """
    if name not in BACKENDS:
        raise ValueError(
            f"unknown tensor-product backend {name!r}; choose one of "
            f"{', '.join(sorted(BACKENDS))}"
        )
    return BACKENDS[name]
