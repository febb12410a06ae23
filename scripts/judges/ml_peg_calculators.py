"""Calculator factories for ml-peg, which passes the precision as `default_dtype`."""

from ase.calculators.calculator import Calculator

from equipot import EquipotCalculator
from judges.teachers import MorsePairs


def ours(model: str, default_dtype: str = "float64") -> Calculator:
    """Calculator of a model file; scans include distances beyond all training data."""
    return EquipotCalculator(model, dtype=default_dtype, on_extrapolation="ignore")


def teacher(default_dtype: str = "float64") -> Calculator:
    """Reference potential of the training data, always in float64."""
    del default_dtype
    return MorsePairs()
