"""Structures without labels and results of other calculations."""

import re
from typing import Final

import numpy as np
from ase import Atoms
from ase.calculators.calculator import all_properties

RESULT: Final = re.compile(
    "energ|toten|e_tot|forc|grad|stress|virial|hessian|dipole|polarizab", re.IGNORECASE
)
"""Names of labels, with any prefix or suffix."""
INITIAL: Final = {"magmoms": "initial_magmoms", "charges": "initial_charges"}
"""Results that are also properties of a structure that nobody has computed yet."""


def without_labels(atoms: Atoms) -> Atoms:
    """Copy a structure without labels, which would be wrong once an atom has moved.

    Args:
        atoms: Structure as a file holds it.

    Returns:
        Positions, elements, cell, masses, momenta, tags, charges, magnetic moments,
        constraints, and whatever else is in ``info`` and ``arrays``; no calculator.
        Magnetic moments and charges that a calculation gave become initial ones where
        the file has none.
    """
    results = {} if atoms.calc is None else atoms.calc.results
    bare = atoms.copy()  # leaves the calculator behind
    for result, initial in INITIAL.items():
        found = results.get(result, atoms.arrays.get(result))
        if found is not None and not bare.has(initial):
            bare.set_array(initial, np.array(found, dtype=float))
    for place in (bare.info, bare.arrays):
        for key in [k for k in place if _is_result(str(k))]:
            del place[key]
    return bare


def _is_result(name: str) -> bool:
    return name in all_properties or RESULT.search(name) is not None
