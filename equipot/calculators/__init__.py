"""ASE calculator of potentials, with run-time guards."""

from equipot.calculators.ase import EquipotCalculator
from equipot.calculators.batch import BatchCalculator, Evaluated
from equipot.calculators.guard import ExtrapolationError
from equipot.calculators.self_check import NeighborMismatchError

__all__ = [
    "BatchCalculator",
    "EquipotCalculator",
    "Evaluated",
    "ExtrapolationError",
    "NeighborMismatchError",
]
