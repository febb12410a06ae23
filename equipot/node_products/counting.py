"""Number of symmetric couplings, by integer counting of characters."""

from collections import Counter
from functools import cache
from typing import NamedTuple


class Irrep(NamedTuple):
    """Irreducible representation of O(3)."""

    degree: int
    parity: int
    """Parity, 1 or -1: factor under inversion."""


def natural(degree: int) -> Irrep:
    """Irreducible representation of a harmonic: parity ``(-1)**degree``."""
    return Irrep(degree, (-1) ** degree)


def num_couplings(lmax_in: int, order: int, irrep: Irrep) -> int:
    r"""Multiplicity of `irrep` in the symmetric power of the features.

    Equal factors commute, so the monomials in components of definite order m span the
    symmetric power. With the number N of monomials of total order m,

    .. math:: n_l = N(m = l) - N(m = l + 1)

    Args:
        lmax_in: Features have each degree from 0 to `lmax_in` once, of natural parity.
        order: Number of factors.
        irrep: Irreducible representation of the product.
    """
    count = _monomials_by_order_m(lmax_in, order)
    degree, parity = irrep
    return count[degree, parity] - count[degree + 1, parity]


def irreps_of_power(lmax_in: int, order: int) -> tuple[Irrep, ...]:
    """Irreducible representations in the symmetric power, by degree and parity."""
    return tuple(
        irrep
        for degree in range(order * lmax_in + 1)
        for irrep in (Irrep(degree, -1), Irrep(degree, 1))
        if num_couplings(lmax_in, order, irrep) > 0
    )


@cache
def _monomials_by_order_m(lmax_in: int, order: int) -> Counter[tuple[int, int]]:
    """Number of monomials of each total order m and parity."""
    counts: list[Counter[tuple[int, int]]] = [Counter() for _ in range(order + 1)]
    counts[0][0, 1] = 1
    for degree in range(lmax_in + 1):
        for m in range(-degree, degree + 1):
            for power in range(1, order + 1):
                for (total, parity), count in counts[power - 1].items():
                    counts[power][total + m, parity * (-1) ** degree] += count
    return counts[order]
