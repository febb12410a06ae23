"""The potential inside other programs' simulations."""

from equipot.calculators.ase import EquipotCalculator
from equipot.calculators.domain import ExtrapolationError

__all__ = ["EquipotCalculator", "ExtrapolationError"]
