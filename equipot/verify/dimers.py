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

MIN_SCAN_DISTANCE = 0.3
"""Å."""
NUM_DISTANCES = 60
"""Number of points between the shortest allowed distance and a short bond."""
NUM_CLOSER = 30
"""Number of points between 0.3 Å and that distance."""
NUM_FARTHER = 50
"""Number of points between a short bond and the cutoff."""
SHORT_BOND_RATIO = 0.7
"""Short bond over the sum of covalent radii; closer atoms repel each other."""
HOLE_TOLERANCE = 0.1
"""eV."""

Limits = Callable[[int, int], float | None]
"""Distance in Å below which calculators reject a pair; None if never."""


@dataclass(frozen=True)
class DimerScan:
    """Energy of two atoms at all distances."""

    pair: Pair
    """Atomic numbers."""
    distances: Curve
    """Distances in Å, ascending from 0.3 to the cutoff."""
    energies: Curve
    """Energies in eV relative to two isolated atoms."""
    limit: float | None
    """Distance in Å below which calculators reject the pair."""
    bond: float
    """Length in Å of a short bond; closer atoms should repel each other."""

    @property
    def used(self) -> tuple[float, float]:
        """Range of distances in Å that must not contain a hole."""
        last = (
            MIN_SCAN_DISTANCE
            if self.limit is None
            else max(self.limit, MIN_SCAN_DISTANCE)
        )
        return last, max(self.bond, last)

    @property
    def hole(self) -> tuple[float, float]:
        """Energy in eV gained in the allowed range, and its distance in Å."""
        return self._gain(*self.used)

    @property
    def hidden_hole(self) -> tuple[float, float]:
        """The same below the allowed range, for distances shorter than a bond."""
        return self._gain(MIN_SCAN_DISTANCE, min(self.used[0], self.bond))

    def _gain(self, low: float, high: float) -> tuple[float, float]:
        """Depth of the energy minimum of a range relative to its upper end."""
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
        model: Model in float64.
        pairs: Atomic numbers.
        closest: Distance in Å below which calculators reject a pair (default: none).
    """
    elements = sorted({z for pair in pairs for z in pair})
    alone = predict_together(model, [Atoms([z]) for z in elements])
    free = {z: float(p.energy) for z, p in zip(elements, alone, strict=True)}
    return tuple(_scan_dimer(model, pair, free, closest) for pair in pairs)


def hole_check(scans: Sequence[DimerScan]) -> Check:
    """Energy gained by a pair at distances shorter than bonds."""
    # NaN ranks as the deepest hole
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
            f"absolute; from {SHORT_BOND_RATIO:g} of a single bond down to "
            f"{MIN_SCAN_DISTANCE:g} Å, or to the shortest distance that calculators "
            "accept"
        ),
        where=f"{pair_label(deepest.pair)} at {place:.2f} Å" if found else "",
    )


def _scan_dimer(
    model: EnergyModel, pair: Pair, free: dict[int, float], closest: Limits | None
) -> DimerScan:
    bond = SHORT_BOND_RATIO * float(covalent_radii[pair[0]] + covalent_radii[pair[1]])
    limit = None if closest is None else closest(*pair)
    last, first = DimerScan(pair, np.zeros(0), np.zeros(0), limit, bond).used
    far = max(first, model.cutoff)
    distances = np.unique(
        np.concatenate(
            [
                np.linspace(MIN_SCAN_DISTANCE, last, NUM_CLOSER),
                np.linspace(last, first, NUM_DISTANCES),
                np.linspace(first, far, NUM_FARTHER),
            ]
        )
    )
    energies = scan(model, pair, distances).energies - free[pair[0]] - free[pair[1]]
    return DimerScan(pair, distances, energies, limit, bond)
