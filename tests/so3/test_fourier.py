"""Fourier series on the torus are the harmonics, and lead back to them."""

import math

import pytest
import torch
from torch.testing import assert_close

from equipot.so3 import fourier, num_components, spherical_harmonics
from equipot.so3.fourier import (
    fourier_to_harmonics,
    harmonics_to_fourier,
    sample_series,
)
from equipot.so3.quadrature import gauss_legendre, sphere_quadrature

LMAX = range(7)


def frequencies(lmax):
    return torch.tensor([*range(lmax + 1), *range(-lmax, 0)])


def pad(series, umax):
    """The series of harmonics with more polar frequencies."""
    out = series.new_zeros(len(series), 2 * umax + 1, series.shape[2])
    out[:, frequencies(series.shape[1] // 2)] = series
    return out


def point(theta, phi):
    return torch.stack(
        [theta.sin() * phi.sin(), theta.cos(), theta.sin() * phi.cos()], dim=-1
    )


@pytest.mark.parametrize("lmax", LMAX)
def test_series_equal_harmonics_all_around_the_torus(lmax, generator):
    angles = torch.rand(2, 50, generator=generator, dtype=torch.float64)
    theta, phi = 2 * math.pi * angles
    u, v = frequencies(lmax), torch.arange(lmax + 1)
    phase = u[:, None, None] * theta + v[:, None] * phi
    # frequencies of negative v are complex conjugates
    terms = torch.exp(1j * phase) * (1 + (v > 0))[:, None]

    series = torch.einsum("kuv,uvn->nk", harmonics_to_fourier(lmax), terms).real

    expected = spherical_harmonics(lmax, point(theta, phi))
    assert_close(series, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("lmax", LMAX)
def test_series_cover_the_sphere_twice(lmax):
    """f(-theta, phi + pi) = f(theta, phi)."""
    series = harmonics_to_fourier(lmax)

    sign = (-1) ** torch.arange(lmax + 1)
    mirrored = series[:, frequencies(lmax).neg()] * sign
    assert_close(mirrored, series, rtol=0, atol=1e-13)


@pytest.mark.parametrize("lmax", range(1, 7))
def test_no_shorter_series_would_do(lmax):
    series = harmonics_to_fourier(lmax).abs()

    assert series[:, lmax].max() > 0.1
    assert series[:, :, lmax].max() > 0.1


def way_back_error(lmax, umax, back=fourier_to_harmonics):
    series = pad(harmonics_to_fourier(lmax), umax)
    overlap = torch.einsum("juv,uvk->jk", series, back(umax, lmax)).real
    identity = torch.eye(num_components(lmax), dtype=torch.float64)
    return (overlap / (4 * math.pi) - identity).abs().max().item()


@pytest.mark.parametrize("extra", [0, 1, 4])
@pytest.mark.parametrize("lmax", LMAX)
def test_back_to_harmonics_is_the_inverse(lmax, extra):
    assert way_back_error(lmax, lmax + extra) < 1e-13


@pytest.mark.parametrize("lmax", range(1, 7))
def test_back_with_a_ring_fewer_is_not_exact(lmax, monkeypatch):
    monkeypatch.setattr(fourier, "gauss_legendre", lambda n: gauss_legendre(n - 2))

    assert way_back_error(lmax, lmax, fourier_to_harmonics.__wrapped__) > 1e-3


@pytest.mark.parametrize(
    ("l1", "l2", "l3"), [(0, 0, 0), (2, 1, 3), (3, 3, 2), (4, 2, 6)]
)
def test_convolution_of_series_is_the_product_of_functions(l1, l2, l3, generator):
    f, g = (
        torch.randn(num_components(lmax), generator=generator, dtype=torch.float64)
        for lmax in (l1, l2)
    )
    umax = l1 + l2

    samples = [
        torch.fft.irfft2(
            torch.tensordot(
                x.to(torch.complex128), pad(harmonics_to_fourier(lmax), umax), 1
            ),
            s=(2 * umax + 1, umax + l3 + 1),
            norm="forward",
        )
        for x, lmax in ((f, l1), (g, l2))
    ]
    product = torch.fft.rfft2(samples[0] * samples[1], norm="forward")[:, : l3 + 1]
    found = torch.einsum("uv,uvk->k", product, fourier_to_harmonics(umax, l3)).real

    points, weights = sphere_quadrature(l1 + l2 + l3)
    values = [spherical_harmonics(n, points) for n in (l1, l2, l3)]
    expected = (weights * (values[0] @ f) * (values[1] @ g)) @ values[2]
    assert_close(found, expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("shape", [(7, 7), (7, 8), (12, 9)])
def test_samples_are_values_on_the_torus(shape):
    """Both frequencies reach 3, which seven samples resolve."""
    lmax = 3
    theta, phi = (torch.arange(n).double() * 2 * math.pi / n for n in shape)
    points = point(*torch.meshgrid(theta, phi, indexing="ij")).flatten(0, 1)
    series = harmonics_to_fourier(lmax)[None].permute(0, 2, 3, 1)

    samples = sample_series(series, shape)

    expected = spherical_harmonics(lmax, points)
    assert_close(samples[0].flatten(0, 1), expected, rtol=0, atol=1e-13)
