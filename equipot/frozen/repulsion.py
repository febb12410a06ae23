"""Energies of pairs of atoms, such as repulsion of nuclei, as splines for programs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from equipot.frozen.radial import pairs_of
from equipot.frozen.splines import SHORTEST, Function, SplineTable, tabulate

TOLERANCE = 1e-10
"""Of slopes, relative to the largest one, at `SHORTEST`."""


def tabulate_repulsion(
    repulsion: nn.Module, atomic_numbers: Sequence[int], cutoff: float
) -> SplineTable:
    """Half the energy of each pair of elements.

    Args:
        repulsion: Short-range repulsion of a potential, in float64.
        atomic_numbers: Elements that are present.
        cutoff: Cutoff of the edges in Å.
    """
    numbers, pairs = pairs_of(len(atomic_numbers))
    elements = [(atomic_numbers[a], atomic_numbers[b]) for a, b in pairs]
    ends = {repulsion.reach(a, b) for a, b in elements}
    bounds = sorted({min(end, cutoff) for end in ends if end > SHORTEST})
    if not bounds:
        bounds = [cutoff]
    functions = [_of_pair(repulsion, a, b) for a, b in elements]
    return tabulate(functions, [SHORTEST, *bounds], TOLERANCE, numbers)


def _of_pair(repulsion: nn.Module, a: int, b: int) -> Function:
    def function(lengths: Tensor) -> Tensor:
        count = len(lengths)
        atoms = torch.tensor([a, b]).repeat_interleave(count)
        edges = torch.stack([torch.arange(count), torch.arange(count, 2 * count)])
        with torch.no_grad():
            energies = repulsion(atoms, lengths, edges)
        return energies[count:, None]

    return function
