"""The kinds of products that are compared, and who can compute each of them."""

from dataclasses import dataclass
from typing import Any, Final

import torch

from equipot.tensor_products import (
    BACKENDS,
    TensorProduct,
    TensorProductSpec,
    unavailable,
)
from equipot.tensor_products.spec import Accumulate, Symmetry, Weighting


@dataclass(frozen=True)
class Family:
    """Products that differ in their degrees only."""

    title: str
    """Name in tables."""
    weighting: Weighting
    """As in `TensorProductSpec`."""
    symmetry: Symmetry = "O(3)"
    """As in `TensorProductSpec`."""
    accumulate: Accumulate = "sum"
    """As in `TensorProductSpec`."""

    def spec(self, lmax: int) -> TensorProductSpec:
        """The member in which features, filter and messages have degrees to `lmax`."""
        return TensorProductSpec(
            lmax, lmax, lmax, self.weighting, self.symmetry, self.accumulate
        )


FAMILIES: Final = (
    Family("CG", "per_path"),
    Family("CG, concatenated", "per_path", accumulate="concat"),
    Family("CG, SO(3)", "per_path", "SO(3)"),
    Family("Gaunt", "per_degree"),
    Family("Gaunt + bracket", "per_degree", "SO(3)"),
)
"""What is compared, in the order of the tables; CG stands for Clebsch-Gordan."""

COMPILED: Final = frozenset({"fused"})
"""Backends that are more than operations of PyTorch on a CPU."""


@dataclass(frozen=True)
class Member:
    """A product of a family by one backend."""

    family: Family
    """What is computed."""
    backend: str
    """Who computes it: a key of `equipot.tensor_products.BACKENDS`."""
    product: TensorProduct[Any]
    """The product itself."""


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
        for family in FAMILIES
        for spec in [family.spec(lmax)]
        for name, backend in BACKENDS.items()
        if name not in absent and backend.unsupported(spec) is None
    ]
    return found, absent
