"""Radial functions, distance transforms, envelope and repulsion of MACE."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from ase.data import chemical_symbols
from torch import Tensor

from equipot.conversion.errors import ConversionError
from equipot.conversion.module_account import Part

UNUSED = "is only printed"


@dataclass(frozen=True)
class Radial:
    """What the radial embedding of a file says."""

    cutoff: float
    envelope_power: int
    num_basis: int
    basis: Literal["bessel", "gaussian"]
    transform: Literal["none", "agnesi", "soft"]
    envelope_on: Literal["input", "output"]
    basis_factor: float
    """Of the functions of the file, relative to those of equipot."""
    weights: dict[str, Tensor]
    """By the names of `equipot.nn.RadialInputs`."""


def read_radial(part: Part, numbers: list[int]) -> Radial:
    """Radial functions from a ``RadialEmbeddingBlock``.

    Args:
        part: Of the file.
        numbers: Atomic numbers, ascending.

    Raises:
        ConversionError: If it is not accounted for in full.
    """
    cutoff_fn = part.part("cutoff_fn", "PolynomialCutoff")
    cutoff, power = cutoff_fn.number("r_max"), cutoff_fn.number("p")
    if not 0 < cutoff < math.inf:
        raise ConversionError(f"the cutoff of the file is {cutoff} Å")
    if not power.is_integer():
        raise ConversionError(f"order {power} of the envelope is no integer")
    applied = part.flags.expect("apply_cutoff", (True, False), default=True)
    basis, num_basis, factor, weights = _basis(part, cutoff)
    transform: Literal["none", "agnesi", "soft"] = "none"
    if part.has("distance_transform"):
        transform, of_transform = _transform(part, numbers)
        weights |= of_transform
    return Radial(
        cutoff=cutoff,
        envelope_power=int(power),
        num_basis=num_basis,
        basis=basis,
        transform=transform,
        envelope_on="input" if applied else "output",
        basis_factor=factor,
        weights=weights,
    )


def read_repulsion(
    part: Part, scale: float, power: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Numbers of the repulsion from a ``ZBLBasis``.

    Args:
        part: Of the file.
        scale: That the file multiplies the repulsion by, together with the network.
        power: Order of its envelope.

    Returns:
        Weights by the names of `equipot.heads.MACERepulsion`, and the radii.

    Raises:
        ConversionError: If it is not accounted for in full.
    """
    part.without_effect("r_max", UNUSED)  # until version 0.3.9
    part.without_effect("cutoff.*", UNUSED)
    if part.has("cutoff"):
        part.part("cutoff", "PolynomialCutoff")
    if part.number("p") != power:
        raise ConversionError(
            f"the envelope of {part.path} is of order {part.number('p'):g}, that of "
            f"the network of {power}: the equations have one"
        )
    radii = part.take("covalent_radii", (len(chemical_symbols),))
    weights = {
        "amplitudes": part.take("c", (4,)) * scale,
        "exponent": part.take("a_exp", ()),
        "length": part.take("a_prefactor", ()),
        "radii": radii,
    }
    return weights, radii


def _basis(
    part: Part, cutoff: float
) -> tuple[Literal["bessel", "gaussian"], int, float, dict[str, Tensor]]:
    """Name, number, factor and weights of the radial functions."""
    basis = part.part("bessel_fn", "BesselBasis", "GaussianBasis", "ChebychevBasis")
    match basis.kind:
        case "BesselBasis":
            roots = _vector(basis, "bessel_weights")
            basis.without_effect("r_max", UNUSED)
            factor = basis.number("prefactor") / math.sqrt(2 / cutoff)
            return "bessel", len(roots), factor, {"basis.wave_numbers": roots}
        case "GaussianBasis":
            centers = _vector(basis, "gaussian_weights")
            exponent = basis.flags.take("coeff")
            if not isinstance(exponent, float):
                raise ConversionError(f"{basis.path} has no width")
            stored = torch.tensor(exponent, dtype=torch.float64)
            weights = {"basis.centers": centers, "basis.exponent": stored}
            return "gaussian", len(centers), 1.0, weights
        case _:
            raise ConversionError(
                f"{basis.path} is of Chebyshev polynomials: PyTorch does not "
                "differentiate them (torch.special.chebyshev_polynomial_t), so that "
                "forces of the original are not derivatives of its energy, as those "
                "of equipot are"
            )


def _transform(
    part: Part, numbers: list[int]
) -> tuple[Literal["agnesi", "soft"], dict[str, Tensor]]:
    """Name and numbers of the distance transform."""
    found = part.part("distance_transform", "AgnesiTransform", "SoftTransform")
    radii = found.take("covalent_radii", (len(chemical_symbols),))[numbers]
    names = ("a", "q", "p") if found.kind == "AgnesiTransform" else ("alpha",)
    weights = {f"transform.{name}": found.take(name, ()) for name in names}
    kind: Literal["agnesi", "soft"] = "soft" if len(names) == 1 else "agnesi"
    return kind, {"transform.radii": radii, **weights}


def _vector(part: Part, name: str) -> Tensor:
    values = part.take(name)
    if values.ndim != 1 or len(values) == 0:
        raise ConversionError(
            f"tensor {part.path}.{name} has the shape {tuple(values.shape)}, expected "
            "a number for each radial function"
        )
    return values
