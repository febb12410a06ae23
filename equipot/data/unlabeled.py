"""Structures without labels and other calculation results."""

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
"""Results that become initial properties of a structure without results."""


def without_labels(atoms: Atoms) -> Atoms:
    """Copy a structure without labels, which are invalid once atoms move.

    Args:
        atoms: Structure from a file.

    Returns:
        Positions, elements, cell, masses, momenta, tags, charges, magnetic moments,
        constraints, and all other entries of ``info`` and ``arrays``; no calculator.
        Calculated magnetic moments and charges become initial ones unless the file has
        initial ones.
    """
    results = {} if atoms.calc is None else atoms.calc.results
    bare = atoms.copy()  # without the calculator
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
