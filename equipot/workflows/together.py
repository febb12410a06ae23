"""Evaluation of several structures, together where the calculator can do it."""

from collections.abc import Collection, Sequence
from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator

from equipot.calculators import BatchCalculator, Evaluated
from equipot.calculators.batch import naming_structure
from equipot.calculators.results import has_stress


def evaluate_together(
    structures: Sequence[Atoms],
    calculator: BatchCalculator | Calculator,
    properties: Collection[str] = ("energy", "forces"),
    numbers: Sequence[int] | None = None,
) -> list[Evaluated]:
    """Results of structures: in batches if possible, else one by one.

    Args:
        structures: Structures, whose calculators and constraints are ignored.
        calculator: Calculator of all structures; any calculator of ASE.
        properties: Properties under ASE's names; the stress is left out for structures
            and calculators without one.
        numbers: Numbers of the structures in error messages (default: 0, 1, ...).

    Raises:
        ValueError: As the calculator; the message contains the number of the structure,
            as for all errors of calculators.
    """
    if isinstance(calculator, BatchCalculator):
        return calculator.evaluate(structures, properties, numbers=numbers)
    found = []
    for n, atoms in enumerate(structures):
        with naming_structure(n if numbers is None else numbers[n]):
            results = _results(atoms.copy(), calculator, properties)
        found.append(Evaluated(results, ()))
    return found


def _results(
    atoms: Atoms, calculator: Calculator, properties: Collection[str]
) -> dict[str, Any]:
    without = set()
    if not has_stress(atoms) or "stress" not in calculator.implemented_properties:
        without.add("stress")
    return {
        name: calculator.get_property(name, atoms)
        for name in properties
        if name not in without
    }
