"""Representation matrices of O(3) for features."""

from functools import cache

import torch
from jaxtyping import Float64
from torch import Tensor

from equipot.so3.coupling import wigner_3j
from equipot.so3.layout import degree_slice, num_components


def representation_matrix(
    lmax: int, matrix: Float64[Tensor, "3 3"]
) -> Float64[Tensor, "sph sph"]:
    r"""Representation matrix of an orthogonal map for features of natural parity.

    .. math:: D^l = (2l + 1) \, C^T (D^{l-1} \otimes R) \, C,
              \qquad C = C^{l-1, 1, l}

    The elements are polynomials in those of R, also for improper maps: degree l is
    multiplied by :math:`(-1)^l` under inversion.

    Args:
        lmax: Highest degree.
        matrix: Orthogonal map of space, x -> R x.

    Returns:
        Block-diagonal matrix acting on components in the order of `layout`.

    Source:
        J. Ivanic and K. Ruedenberg, J. Phys. Chem. 100, 6342 (1996).
    """
    out = matrix.new_zeros(num_components(lmax), num_components(lmax))
    block = matrix.new_ones(1, 1)
    out[0, 0] = 1
    for degree in range(1, lmax + 1):
        coupling = wigner_3j(degree - 1, 1, degree).to(matrix)
        block = (2 * degree + 1) * torch.einsum(
            "abk,ac,bd,cdn->kn", coupling, block, matrix, coupling
        )
        out[degree_slice(degree), degree_slice(degree)] = block
    return out


@cache
def rotation_generators(lmax: int) -> Float64[Tensor, "3 sph sph"]:
    r"""Derivatives :math:`J_x, J_y, J_z` of `representation_matrix` at the identity.

    .. math:: D(R) = 1 + \sum_a v_a J_a + O(v^2)

    for the rotation R about a vector v by the angle :math:`|v|`. They are antisymmetric
    and block-diagonal in the degree. The result is cached and must not be modified.

    Args:
        lmax: Highest degree.
    """
    identity = torch.eye(3, dtype=torch.float64)
    vector = torch.linalg.cross(identity[:, None], identity[None]).mT
    out = vector.new_zeros(3, num_components(lmax), num_components(lmax))
    block = vector.new_zeros(3, 1, 1)
    for degree in range(1, lmax + 1):
        coupling = wigner_3j(degree - 1, 1, degree)
        # Product rule applied to the recursion of representation_matrix.
        block = (2 * degree + 1) * (
            torch.einsum("abk,xac,cbn->xkn", coupling, block, coupling)
            + torch.einsum("abk,xbd,adn->xkn", coupling, vector, coupling)
        )
        out[:, degree_slice(degree), degree_slice(degree)] = block
    return out


def random_rotation(generator: torch.Generator | None = None) -> Float64[Tensor, "3 3"]:
    """Rotation drawn uniformly from SO(3)."""
    normal = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(normal)
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q).sign()
