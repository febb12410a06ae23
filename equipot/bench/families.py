"""The kinds of products that are compared, and the backends that support them."""

from typing import Any, Final, NamedTuple

import torch

from equipot.tensor_products import (
    BACKENDS,
    TensorProduct,
    TensorProductSpec,
    unavailable,
)
from equipot.tensor_products.spec import Accumulate, Symmetry, Weighting

FAMILIES: Final[dict[str, tuple[Weighting, Symmetry, Accumulate]]] = {
    "CG": ("per_path", "O(3)", "sum"),
    "CG, concatenated": ("per_path", "O(3)", "concat"),
    "CG, SO(3)": ("per_path", "SO(3)", "sum"),
    "Gaunt": ("per_degree", "O(3)", "sum"),
    "Gaunt + bracket": ("per_degree", "SO(3)", "sum"),
}
"""Fields of `TensorProductSpec` by name in tables; CG stands for Clebsch-Gordan."""


class Member(NamedTuple):
    """A product of a family by one backend."""

    family: str
    backend: str
    product: TensorProduct[Any]


def members(lmax: int) -> tuple[list[Member], dict[str, str]]:
    """Products of all families by all backends.

    Args:
        lmax: Highest degree of features, filter and messages.

    Returns:
        members: Products that can be computed here.
        absent: Why a backend, by name, is not installed.
    """
    cpu = torch.device("cpu")
    absent = {
        name: reason
        for name in BACKENDS
        if (reason := unavailable(name, cpu)) is not None
    }
    found = [
        Member(family, name, backend(spec))
        for family, fields in FAMILIES.items()
        for spec in [TensorProductSpec(lmax, lmax, lmax, *fields)]
        for name, backend in BACKENDS.items()
        if name not in absent and backend.unsupported(spec) is None
    ]
    return found, absent
