"""What ml-peg makes calculators with: it names the arithmetic `default_dtype`."""

from ase.calculators.calculator import Calculator

from equipot import EquipotCalculator
from judges.teachers import MorsePairs


def ours(model: str, default_dtype: str = "float64") -> Calculator:
    """A model on disk; scans reach distances that nobody trains on."""
    return EquipotCalculator(model, dtype=default_dtype, on_extrapolation="ignore")


def teacher(default_dtype: str = "float64") -> Calculator:
    """What it learned from, always in float64."""
    del default_dtype
    return MorsePairs()
