"""Energies of pairs of atoms, such as repulsion of nuclei, as splines for programs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from equipot.frozen.radial import pairs_of
from equipot.frozen.splines import SHORTEST, Function, SplineTable, tabulate
from equipot.heads import MACERepulsion, NequIPRepulsion, ZBLRepulsion

Repulsion = MACERepulsion | NequIPRepulsion | ZBLRepulsion

TOLERANCE = 1e-11
"""Of slopes, relative to the largest one, at `SHORTEST`."""
LEAST_SEGMENT = 1e-6
"""In Å; sums of radii that are closer are equal but for rounding."""


def tabulate_repulsion(
    repulsion: Repulsion, atomic_numbers: Sequence[int], cutoff: float
) -> SplineTable:
    """Half the energy of each pair of elements.

    Args:
        repulsion: Short-range repulsion of a potential, in float64.
        atomic_numbers: Elements that are present.
        cutoff: Cutoff of the edges in Å.
    """
    numbers, pairs = pairs_of(len(atomic_numbers))
    elements = [(atomic_numbers[a], atomic_numbers[b]) for a, b in pairs]
    ends = [min(repulsion.reach(a, b), cutoff) for a, b in elements]
    bounds = [SHORTEST]
    for end in sorted(ends):
        if end > bounds[-1] + LEAST_SEGMENT:
            bounds.append(end)
    if len(bounds) == 1:
        bounds.append(cutoff)
    return tabulate(_of_pairs(repulsion, elements), bounds, TOLERANCE, numbers)


def _of_pairs(repulsion: Repulsion, elements: list[tuple[int, int]]) -> Function:
    """Energy of the second atom of each pair of elements."""
    senders, receivers = torch.tensor(elements).T

    @torch.no_grad()
    def function(lengths: Tensor) -> Tensor:
        count = len(lengths) * len(elements)
        of_edges = (senders.repeat(len(lengths)), receivers.repeat(len(lengths)))
        edges = torch.stack([torch.arange(count), torch.arange(count, 2 * count)])
        repeated = lengths.repeat_interleave(len(elements), dim=0)
        energies = repulsion(torch.cat(of_edges), repeated, edges)[count:]
        return energies.view(len(lengths), len(elements), 1)

    return function
