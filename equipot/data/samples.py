"""Sample structures of the training set, stored in a model for its verification."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from equipot.data.labels import Example
from equipot.graph.atomic_graph import AtomicGraph

MAX_STRUCTURES = 4
MAX_ATOMS = 200
"""Maximum number of atoms in all samples: a few kilobytes of a model file."""


def choose_samples(examples: Sequence[Example]) -> list[Atoms]:
    """Choose the smallest structures with different elements, periodicity and groups.

    Args:
        examples: Structures of a set; those without edges are skipped.

    Returns:
        At most `MAX_STRUCTURES` structures without labels, with at most `MAX_ATOMS`
        atoms in total, a deterministic function of the set; empty if all are larger.
    """
    candidates = sorted(
        (e for e in examples if e.graph.num_edges), key=lambda e: e.graph.num_atoms
    )
    chosen: list[Example] = []
    seen: set[Any] = set()
    atoms = 0
    # First structures with something new, then any that fit
    for wanted in (True, False):
        for example in candidates:
            graph = example.graph
            facts = _facts(example)
            fits = atoms + graph.num_atoms <= MAX_ATOMS
            new = bool(facts - seen)
            taken = any(example is other for other in chosen)
            if len(chosen) < MAX_STRUCTURES and fits and new == wanted and not taken:
                chosen.append(example)
                seen |= facts
                atoms += graph.num_atoms
    return [_atoms(example.graph) for example in chosen]


def sample_to_json(atoms: Atoms) -> dict[str, Any]:
    """Serialize a structure to JSON; the inverse of `sample_from_json`."""
    return {
        "numbers": atoms.numbers.tolist(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
    }


def sample_from_json(values: Mapping[str, Any]) -> Atoms:
    """Structure from JSON.

    Raises:
        KeyError: If an entry is missing.
        ValueError: If a shape is wrong or a number is not finite.
    """
    numbers = np.array(values["numbers"])
    if numbers.dtype.kind != "i":
        raise ValueError("the elements of a sample structure are not integers")
    atoms = Atoms(
        numbers=numbers,
        positions=np.array(values["positions"], dtype=float).reshape(-1, 3),
        cell=np.array(values["cell"], dtype=float),
        pbc=values["pbc"],
    )
    if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell).all()):
        raise ValueError("the coordinates of a sample structure are not finite")
    return atoms


def _facts(example: Example) -> set[Any]:
    graph = example.graph
    return {
        *graph.atomic_numbers.tolist(),
        tuple(graph.pbc[0].tolist()),
        example.config_type,
    }


def _atoms(graph: AtomicGraph) -> Atoms:
    return Atoms(
        numbers=graph.atomic_numbers.numpy(),
        positions=graph.positions.double().numpy(),
        cell=graph.cell[0].double().numpy(),
        pbc=graph.pbc[0].numpy(),
    )
