r"""Functions on the sphere as Fourier series in both angles.

The polar angle :math:`\theta` is measured from y, the azimuth :math:`\varphi` from z
towards x. A polynomial on the sphere extends to all :math:`\theta`, that is to a torus
that covers the sphere twice: :math:`f(-\theta, \varphi + \pi) = f(\theta, \varphi)`. On
the torus

.. math:: f(\theta, \varphi) = \sum_{u,v} F_{uv} \, e^{i (u \theta + v \varphi)},
          \qquad F_{-u,-v} = F_{uv}^*,

so frequencies v >= 0 suffice. Frequencies u are in the order of discrete Fourier
transforms: 0, 1, 2, ..., -2, -1.
"""

import math
from functools import cache

import torch
from jaxtyping import Complex, Complex128, Float
from torch import Tensor

from equipot.so3.harmonics import spherical_harmonics
from equipot.so3.quadrature import gauss_legendre


@cache
def harmonics_to_fourier(lmax: int) -> Complex128[Tensor, "sph u v"]:
    """Fourier coefficients of component-normalized harmonics.

    Exact, since frequencies do not exceed `lmax` and ``2 * lmax + 1`` samples in each
    angle determine such a series. The result is cached and must not be modified.

    Source:
        S. Luo, T. Chen, A. Krishnapriyan, ICLR 2024, section 3.2.
    """
    size = 2 * lmax + 1
    angles = torch.arange(size, dtype=torch.float64) * 2 * math.pi / size
    theta, phi = torch.meshgrid(angles, angles, indexing="ij")
    points = torch.stack(
        [theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()], dim=-1
    )
    samples = spherical_harmonics(lmax, points.flatten(0, 1)).T
    return torch.fft.rfft2(samples.unflatten(1, (size, size)), norm="forward")


@cache
def fourier_to_harmonics(umax: int, lmax: int) -> Complex128[Tensor, "u v sph"]:
    r"""Integrals of Fourier series times component-normalized harmonics.

    .. math:: \int f \, Y_k \, d\omega = \mathrm{Re} \sum_{u, v \ge 0} F_{uv} Z_{uvk}

    for every f on the double cover of the sphere. In such a series, terms of even v are
    even in :math:`\theta` and terms of odd v are odd, so only :math:`\cos u \theta` or
    only :math:`i \sin u \theta` remains. The product with a harmonic of order v is a
    polynomial in :math:`\cos \theta`, for which Gauss-Legendre quadrature is exact.

    The result is cached and must not be modified.

    Args:
        umax: Highest frequency in the polar angle.
        lmax: Highest degree of the harmonics, and highest frequency v; higher
            frequencies do not contribute.

    Source:
        S. Luo, T. Chen, A. Krishnapriyan, ICLR 2024, section 3.2.
    """
    points, weights = gauss_legendre(max(umax, lmax) + lmax)
    x, y, z = points.T
    u = torch.cat([torch.arange(umax + 1), torch.arange(-umax, 0)])[:, None, None]
    v = torch.arange(lmax + 1)[:, None]
    angle = u * y.acos()
    polar = torch.where(v % 2 == 0, angle.cos(), 1j * angle.sin())
    # Terms of v and -v are complex conjugates: twice the real part of one.
    terms = polar * torch.exp(1j * v * torch.atan2(x, z)) * (1 + (v > 0))
    return (terms * weights) @ spherical_harmonics(lmax, points).to(terms.dtype)


def sample_series(
    series: Complex[Tensor, "functions u v channels"], shape: tuple[int, int]
) -> Float[Tensor, "functions {shape[0]} {shape[1]} channels"]:
    """Values of Fourier series on the torus, by fast Fourier transforms.

    Args:
        series: Coefficients for v >= 0.
        shape: Number of samples in the polar and the azimuthal angle; the former must
            not be less than the number of coefficients. Frequencies v above half of the
            latter are dropped.
    """
    umax = series.shape[1] // 2
    missing = shape[0] - series.shape[1]
    zeros = series.new_zeros(len(series), missing, *series.shape[2:])
    padded = torch.cat([series[:, : umax + 1], zeros, series[:, umax + 1 :]], dim=1)
    return torch.fft.irfft2(padded, shape, dim=(1, 2), norm="forward")
