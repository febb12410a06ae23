"""Real spherical harmonics of unit vectors."""

from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.constants import Constant
from equipot.so3.coupling import wigner_3j
from equipot.so3.layout import degree_slice, num_components


def spherical_harmonics(
    lmax: int, directions: Float[Tensor, "vectors 3"]
) -> Float[Tensor, "vectors sph"]:
    r"""Harmonics of degree 0 to `lmax`, component-normalized.

    .. math:: \sum_m Y^l_m(n)^2 = 2 l + 1, \qquad
              Y^l = c_l \, C^{l-1,1,l} (Y^{l-1} \otimes Y^1)

    The harmonics are polynomials in the components of the vectors, so derivatives of
    every order are finite everywhere, including at the poles.

    Args:
        lmax: Highest degree.
        directions: Unit vectors. For other vectors the result is the homogeneous
            polynomial of degree l (solid harmonic).

    Returns:
        Components in the order of `equipot.so3.layout`; degree 1 is
        ``sqrt(3) * (x, y, z)``.
    """
    if lmax <= 1:
        ones = torch.ones_like(directions[:, :1])
        return torch.cat([ones, directions * 3**0.5][: lmax + 1], dim=1)
    out: Tensor = _Harmonics.apply(directions, lmax)
    return out


class _Harmonics(torch.autograd.Function):
    r"""Harmonics with gradients in terms of harmonics of one degree less.

    Both :math:`\partial_a Y^l = D^l_a Y^{l-1}` and, by Euler's theorem,
    :math:`l \, Y^l = \sum_a n_a \, \partial_a Y^l` take a few operations for all edges.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(directions: Tensor, lmax: int) -> Tensor:
        # Edges are the last dimension, since they are many and components few.
        n = directions.T.contiguous()
        parts = [torch.ones_like(n[:1])]
        for degree in range(1, lmax + 1):
            gradient = _derivative(degree).like(n) @ parts[-1]
            parts.append((gradient.unflatten(0, (3, -1)) * n[:, None]).sum(0) / degree)
        return torch.cat(parts).T.contiguous()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)
        ctx.lmax = inputs[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        derivatives = harmonic_derivatives(ctx.lmax, ctx.saved_tensors[0])
        return torch.bmm(derivatives, gradient[:, :, None])[:, :, 0], None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        derivatives = harmonic_derivatives(ctx.lmax, ctx.saved_tensors[0])
        return torch.bmm(tangent[:, None], derivatives)[:, 0]


def harmonic_derivatives(
    lmax: int, harmonics: Float[Tensor, "vectors sph"]
) -> Float[Tensor, "vectors 3 sph"]:
    r"""Derivatives :math:`\partial_a Y^l = D^l_a Y^{l-1}` of the polynomials.

    Args:
        lmax: Highest degree.
        harmonics: Result of `spherical_harmonics`.
    """
    if lmax == 0:
        return torch.zeros_like(harmonics)[:, None].expand(-1, 3, -1)
    lower = harmonics[:, : num_components(lmax - 1)]
    return (lower @ _all_derivatives(lmax).like(lower)).unflatten(1, (3, -1))


def even_spherical_harmonics(
    lmax: int, axes: Float[Tensor, "vectors 3"]
) -> Float[Tensor, "vectors even_sph"]:
    r"""Harmonics of even degree up to `lmax`, which are invariant under inversion.

    .. math:: Y^l = c_l \, C^{l-2,2,l} (Y^{l-2} \otimes Y^2)

    Args:
        lmax: Upper bound of the degrees.
        axes: Unit vectors; u and -u give the same result.

    Returns:
        Component-normalized harmonics, as the even degrees of `spherical_harmonics`.
    """
    parts = [torch.ones_like(axes[:, :1])]
    if lmax >= 2:
        second = spherical_harmonics(2, axes)[:, degree_slice(2)]
        parts.append(second)
        for degree in range(4, lmax + 1, 2):
            parts.append(_climb(parts[-1], second, degree))
    return torch.cat(parts, dim=1)


def _climb(
    harmonics: Float[Tensor, "vectors sph_low"],
    step: Float[Tensor, "vectors sph_step"],
    degree: int,
) -> Float[Tensor, "vectors sph_high"]:
    """Harmonics of `degree` from those of a lower degree and of the difference."""
    product = (harmonics[:, :, None] * step[:, None, :]).flatten(1)
    return product @ _ladder(degree, (step.shape[1] - 1) // 2).like(harmonics)


@cache
def _derivative(degree: int) -> Constant:
    """Map from harmonics of degree l - 1 to the derivatives along x, y, z of degree l.

    The coupling of a vector and degree l - 1 to degree l is unique up to a factor,
    which follows from Euler's theorem at the pole y.
    """
    coupling = wigner_3j(degree - 1, 1, degree)
    at_pole = coupling[degree - 1, 1, degree] * (2 * degree - 1) ** 0.5
    factor = degree * (2 * degree + 1) ** 0.5 / at_pole
    return Constant((factor * coupling).permute(1, 2, 0).flatten(0, 1))


@cache
def _all_derivatives(lmax: int) -> Constant:
    """Map from the harmonics below `lmax` to the derivatives of all harmonics."""
    out = torch.zeros(num_components(lmax - 1), 3, num_components(lmax)).double()
    for degree in range(1, lmax + 1):
        block = _derivative(degree).like(out).unflatten(0, (3, -1)).permute(2, 0, 1)
        out[degree_slice(degree - 1), :, degree_slice(degree)] = block
    return Constant(out.flatten(1))


@cache
def _ladder(degree: int, step: int) -> Constant:
    r"""Map from :math:`Y^{l-s} \otimes Y^s` to :math:`Y^l`.

    The coupling is unique up to a factor, which follows from the value at the pole y,
    where :math:`Y^l_m = \sqrt{2l+1} \, \delta_{m0}`.
    """
    low = degree - step
    coupling = wigner_3j(low, step, degree)
    product_at_pole = ((2 * low + 1) * (2 * step + 1)) ** 0.5
    at_pole = coupling[low, step, degree] * product_at_pole
    scale = (2 * degree + 1) ** 0.5 / at_pole
    return Constant((scale * coupling).reshape(-1, 2 * degree + 1))
