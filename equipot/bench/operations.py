r"""Floating-point operations of the algorithms, counted per edge and channel.

An addition or a multiplication is one operation. What all channels share, such as the
harmonics of an edge, counts nothing. With :math:`D = 2 l + 1`; sums run over paths p or
over degrees l.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import torch

from equipot.so3 import num_components, wigner_3j
from equipot.so3.quadrature import sphere_quadrature
from equipot.tensor_products import TensorProductSpec
from equipot.tensor_products.function_product import coupled_degrees
from equipot.tensor_products.fused import fastest
from equipot.tensor_products.gaunt_fft import padded_shape
from equipot.tensor_products.so2_weights import paths_to_so2

TYPICAL_CHANNELS = 64


@dataclass(frozen=True)
class Operations:
    """Operations of an algorithm for one edge and one channel."""

    count: int
    """Additions and multiplications of the forward product."""
    exponent: int
    """They grow as this power of the highest degree, in the limit of high degrees."""


def operations(backend: str, spec: TensorProductSpec) -> Operations | None:
    """Operations of a backend's algorithm; None if they are not counted here."""
    count = _COUNTS.get(backend)
    return None if count is None else count(spec)


def edge_matrix_operations(spec: TensorProductSpec) -> int:
    r"""Matrices of the edge times features, weights: :math:`\sum_p 2 D_1 D_3 + 2 D_3`.

    Without the sum over paths, the last term is :math:`D_3`.
    """
    product = sum(2 * (2 * p.l_in + 1) * (2 * p.l_out + 1) for p in spec.paths)
    weigh = sum(2 * p.l_out + 1 for p in spec.paths)
    return product + (2 if spec.accumulate == "sum" else 1) * weigh


def so2_operations(spec: TensorProductSpec) -> int:
    r"""Rotation to the frame of the edge and back, and products of equal order between.

    :math:`\sum_{l_1} 2 D_1^2 + \sum_{l_3} 2 D_3^2 + \sum_{l_1 l_3} 2 (2 \min + 1)`, the
    last sum over pairs of degrees that have a path; twice with ``symmetry="SO(3)"``,
    where orders m and -m mix.

    Source:
        S. Passaro, C. L. Zitnick, ICML 2023, section 3.
    """
    rotations = sum(
        2 * (2 * degree + 1) ** 2
        for lmax in (spec.lmax_in, spec.lmax_out)
        for degree in range(lmax + 1)
    )
    pairs = {(p.l_in, p.l_out) for p in spec.paths}
    mixing = sum(2 * (2 * min(pair) + 1) for pair in pairs)
    return rotations + (1 if spec.symmetry == "O(3)" else 2) * mixing


def _edge_matrices(spec: TensorProductSpec) -> Operations:
    return Operations(edge_matrix_operations(spec) + _path_weights(spec), 5)


def _sparse_couplings(spec: TensorProductSpec) -> Operations:
    r"""Nonzero couplings one by one: :math:`\sum_p 3 \, \mathrm{nnz}(C^p) + D_3`."""
    nonzeros = sum(int(wigner_3j(*p).count_nonzero()) for p in spec.paths)
    weigh = sum(2 * p.l_out + 1 for p in spec.paths)
    return Operations(3 * nonzeros + weigh + _path_weights(spec), 5)


def _so2(spec: TensorProductSpec) -> Operations:
    r"""Rotations and products, and their weights from those of the paths.

    The weights take two operations for each element of a sparse matrix, of which there
    are of the order of :math:`l^4`. A model that learns them directly has
    :math:`l^3`.
    """
    elements = int((paths_to_so2(spec).abs() > 1e-12).sum())
    return Operations(so2_operations(spec) + 2 * elements + _path_weights(spec), 4)


def _fused(spec: TensorProductSpec) -> Operations:
    """Those of the algorithm that it chooses for `TYPICAL_CHANNELS`."""
    in_frames = fastest(spec, torch.device("cpu"), TYPICAL_CHANNELS) == "so2"
    return _so2(spec) if in_frames else _edge_matrices(spec)


def _spherical_grid(spec: TensorProductSpec) -> Operations:
    r"""Features and filter at G points, their product, and back.

    :math:`2 G (L_1 + 1)^2 + 2 G (L_2 + 1) + G + 2 G (L_3 + 1)^2`, and a weight for each
    component; twice if there are brackets.
    """
    degrees = coupled_degrees(spec)
    sph_in, sph_out = (
        num_components(degrees.features),
        num_components(degrees.messages),
    )
    points = len(sphere_quadrature(sum(degrees)).points)
    each = 2 * (sph_in + degrees.filter + 1 + sph_out) + 1
    return Operations(_pairs(spec) * (points * each + sph_in + sph_out), 4)


def _gaunt_fft(spec: TensorProductSpec) -> Operations:
    r"""Series of features, samples on a torus of N points, product, and back.

    A real transform counts :math:`\tfrac{5}{2} N \log_2 N`, half of the usual figure
    for a complex one. Maps to and from the series are dense matrices here, which is why
    the exponent is 4; with sparse ones it would be 3 (Luo et al., section 3.2).
    """
    degrees = coupled_degrees(spec)
    l_in, l_filter, l_out = degrees
    sph_in, sph_out = num_components(l_in), num_components(l_out)
    rows, columns = padded_shape(degrees)
    samples = rows * columns
    to_series = 2 * 2 * (2 * l_in + 1) * (l_in + 1) * sph_in
    from_series = 2 * 2 * rows * (l_out + 1) * sph_out
    transforms = round(2 * 2.5 * samples * math.log2(samples)) if samples > 1 else 0
    filter_and_product = 2 * samples * (l_filter + 1) + samples
    work = to_series + transforms + filter_and_product + from_series
    return Operations(_pairs(spec) * (work + sph_in + sph_out), 4)


def _pairs(spec: TensorProductSpec) -> int:
    """Products of functions: one, and one for the bracket."""
    return 1 if spec.symmetry == "O(3)" else 2


def _path_weights(spec: TensorProductSpec) -> int:
    """Two products for each path whose weight is that of its three degrees."""
    return 0 if spec.weighting == "per_path" else 2 * len(spec.paths)


_COUNTS: Final[Mapping[str, Callable[[TensorProductSpec], Operations]]] = {
    "clebsch_gordan": _edge_matrices,
    "cuequivariance": _sparse_couplings,
    "fused": _fused,
    "gaunt_fft": _gaunt_fft,
    "so2": _so2,
    "spherical_grid": _spherical_grid,
}
