"""Coulomb repulsion of screened nuclei, the sum that all its variants share."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from equipot.graph.scatter import scatter_sum


class Screening(NamedTuple):
    r"""Constants of the universal screening function.

    .. math:: V(r) = k \frac{Z_i Z_j}{r} \sum_n c_n e^{-d_n r / a}, \qquad
              a = \frac{b}{Z_i^p + Z_j^p}
    """

    coulomb: float
    """Factor k in eV Å."""
    length: float | Tensor
    """Length b in Å."""
    exponent: float | Tensor
    """Exponent p."""
    amplitudes: Float[Tensor, " terms"]
    """Factors c."""
    decays: Float[Tensor, " terms"]
    """Rates d."""


def screened_repulsion(
    screening: Screening,
    atomic_numbers: Int[Tensor, " nodes"],
    lengths: Float[Tensor, "edges 1"],
    edge_index: Int[Tensor, "2 edges"],
    envelope: Callable[[Tensor], Tensor],
) -> Float[Tensor, " nodes"]:
    """Half of the sum of the pair energies of each atom, in eV.

    Args:
        screening: Constants.
        atomic_numbers: Of all atoms.
        lengths: Of all edges in Å.
        edge_index: Senders and receivers.
        envelope: Factor of each pair energy, a function of the lengths.
    """
    senders, receivers = edge_index
    z = atomic_numbers.to(lengths)
    power = z**screening.exponent
    reach = screening.length / (power[senders] + power[receivers])[:, None]
    phi = torch.exp(-screening.decays * lengths / reach)
    phi = phi @ screening.amplitudes[:, None]
    factor = envelope(lengths)
    charge = (z[senders] * z[receivers])[:, None]
    pair = screening.coulomb * charge / lengths * phi * factor
    return 0.5 * scatter_sum(pair[:, 0], receivers, len(z))


def sums_of_radii(
    radii: Float[Tensor, " elements"],
    atomic_numbers: Int[Tensor, " nodes"],
    edge_index: Int[Tensor, "2 edges"],
) -> Float[Tensor, "edges 1"]:
    """Sum of the radii of both atoms of each edge, from a table by atomic number."""
    senders, receivers = edge_index
    of_atoms = radii[atomic_numbers]
    return (of_atoms[senders] + of_atoms[receivers])[:, None]
