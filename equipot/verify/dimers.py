"""Spurious short-range attraction (holes) of pairs of atoms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.data import covalent_radii

from equipot.models.energy_model import EnergyModel
from equipot.tensor_products.agreement import Difference
from equipot.verify.physics import predict_together
from equipot.verify.result import Check
from equipot.verify.scans import Curve, Pair, pair_label, scan

CLOSEST = 0.3
"""Å."""
NUM_DISTANCES = 60
"""Between the closest distance at which a pair is used and a short bond."""
NUM_CLOSER = 30
"""Between 0.3 Å and that distance."""
NUM_FARTHER = 50
"""Between a short bond and the cutoff."""
SHORT_BOND = 0.7
"""Of the sum of covalent radii: real atoms that are closer repel each other."""
HOLE_TOLERANCE = 0.1
"""eV."""

Limits = Callable[[int, int], float | None]
"""Distance in Å below which a pair of elements is refused; None if it never is."""


@dataclass(frozen=True)
class DimerScan:
    """Energy of two atoms at all distances."""

    pair: Pair
    """Atomic numbers."""
    distances: Curve
    """In Å, ascending from 0.3 to the cutoff."""
    energies: Curve
    """In eV, relative to the two atoms apart."""
    limit: float | None
    """Distance in Å below which the pair is refused where the potential is used."""
    bond: float
    """A short bond in Å: closer atoms should repel each other."""

    @property
    def used(self) -> tuple[float, float]:
        """Distances in Å between which there must not be a hole."""
        last = CLOSEST if self.limit is None else max(self.limit, CLOSEST)
        return last, max(self.bond, last)

    @property
    def hole(self) -> tuple[float, float]:
        """Energy in eV gained where the pair is used, and at which distance in Å."""
        return self._gain(*self.used)

    @property
    def hidden_hole(self) -> tuple[float, float]:
        """The same where the pair is refused, and closer than a short bond."""
        return self._gain(CLOSEST, min(self.used[0], self.bond))

    def _gain(self, low: float, high: float) -> tuple[float, float]:
        """Depth of the lowest energy in a range below that at its upper end."""
        inside = (self.distances >= low) & (self.distances <= high)
        energies = self.energies[inside]
        lowest = int(np.argmin(energies))
        return (
            float(energies[-1] - energies[lowest]),
            float(self.distances[inside][lowest]),
        )


def scan_dimers(
    model: EnergyModel, pairs: Sequence[Pair], closest: Limits | None
) -> tuple[DimerScan, ...]:
    """Scan pairs of elements from 0.3 Å to the cutoff.

    Args:
        model: In float64.
        pairs: Atomic numbers.
        closest: Distance in Å below which a pair is refused where the potential is
            used; none has one if left out.
    """
    elements = sorted({z for pair in pairs for z in pair})
    alone = predict_together(model, [Atoms([z]) for z in elements])
    free = {z: float(p.energy) for z, p in zip(elements, alone, strict=True)}
    return tuple(_scan_dimer(model, pair, free, closest) for pair in pairs)


def hole_check(scans: Sequence[DimerScan]) -> Check:
    """Energy that a pair gains by coming closer than atoms do that are bonded."""
    # a NaN is the deepest of all
    deepest = max(scans, key=lambda s: (np.isnan(s.hole[0]), s.hole[0]))
    depth, place = deepest.hole
    found = not depth <= 0
    return Check(
        quantity="gain",
        unit="eV",
        name="short-range attraction, pairs",
        dtype="float64",
        difference=Difference(depth if found else 0.0, 1.0, HOLE_TOLERANCE),
        reason=(
            f"absolute; distances from {SHORT_BOND:g} of a single bond down to "
            f"{CLOSEST:g} Å, or to the end of the domain of validity"
        ),
        where=f"{pair_label(deepest.pair)} at {place:.2f} Å" if found else "",
    )


def _scan_dimer(
    model: EnergyModel, pair: Pair, free: dict[int, float], closest: Limits | None
) -> DimerScan:
    bond = SHORT_BOND * float(covalent_radii[pair[0]] + covalent_radii[pair[1]])
    limit = None if closest is None else closest(*pair)
    last, first = DimerScan(pair, np.zeros(0), np.zeros(0), limit, bond).used
    far = max(first, model.cutoff)
    distances = np.unique(
        np.concatenate(
            [
                np.linspace(CLOSEST, last, NUM_CLOSER),
                np.linspace(last, first, NUM_DISTANCES),
                np.linspace(first, far, NUM_FARTHER),
            ]
        )
    )
    energies = scan(model, pair, distances).energies - free[pair[0]] - free[pair[1]]
    return DimerScan(pair, distances, energies, limit, bond)
