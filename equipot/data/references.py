"""Reference energies of the elements: given, from isolated atoms, or fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Float, Int
from torch import Tensor

from equipot.data.labels import Example
from equipot.data.reading.errors import DataError

ReferenceChoice = (
    Literal["auto", "isolated_atoms", "least_squares", "none"]
    | Mapping[str, float | int]
)


@dataclass(frozen=True)
class ReferenceEnergies:
    """Reference energies of the elements, with their source."""

    energies: dict[int, float]
    """Energy in eV by atomic number."""
    source: str
    """Source of the energies."""
    rank: int
    """Rank of the least-squares fit; the number of elements without a fit."""
    warnings: tuple[str, ...] = ()
    """Warnings about energies that the fit does not determine."""


def reference_energies_of(
    examples: Sequence[Example],
    elements: tuple[int, ...],
    choice: ReferenceChoice,
    isolated: Mapping[int, float],
) -> ReferenceEnergies:
    """Reference energies according to the configuration.

    Args:
        examples: Structures of the least-squares fit.
        elements: Atomic numbers that need an energy, ascending.
        choice: See `equipot.data.statistics.compute_statistics`.
        isolated: Energies in eV of isolated atoms by atomic number.

    Returns:
        One energy per element.

    Raises:
        DataError: If an element has no reference energy.
    """
    if not isinstance(choice, str):
        given = {_number(symbol): float(e) for symbol, e in choice.items()}
        return _complete(given, elements, "given", "reference_energies of the config")
    if choice == "isolated_atoms" or (choice == "auto" and isolated):
        return _complete(isolated, elements, "isolated_atoms", "IsolatedAtom rows")
    labeled = [e for e in examples if not e.labels.energy.isnan()]
    if choice == "none" or (choice == "auto" and not labeled):
        return ReferenceEnergies(dict.fromkeys(elements, 0.0), "none", len(elements))
    if not labeled:
        raise DataError(
            "reference energies by least squares need energies, but no structure has "
            'one; set reference_energies to "none" or a dictionary'
        )
    counts = composition_matrix([e.graph.atomic_numbers for e in labeled], elements)
    energies = np.array([float(e.labels.energy) for e in labeled])
    return fit_reference_energies(counts, energies, elements, isolated)


def composition_matrix(
    numbers: Sequence[Int[Tensor, " _"]], elements: tuple[int, ...]
) -> Float[np.ndarray, "structures elements"]:
    """Number of atoms of each element in each structure."""
    return np.array([[(n == z).sum().item() for z in elements] for n in numbers], float)


def fit_reference_energies(
    counts: Float[np.ndarray, "structures elements"],
    energies: Float[np.ndarray, " structures"],
    elements: tuple[int, ...],
    fixed: Mapping[int, float] | None = None,
) -> ReferenceEnergies:
    """Fit energies per atom by least squares; the minimum-norm solution if not unique.

    Args:
        counts: Number of atoms of each element in each structure.
        energies: Energies of the structures in eV.
        elements: Atomic numbers of the columns of `counts`.
        fixed: Energies in eV of isolated atoms, which are kept fixed.

    Returns:
        The energies of the elements, with a warning if they are not unique, or if only
        some of them are from isolated atoms.
    """
    known = {z: float(e) for z, e in (fixed or {}).items() if z in elements}
    open_ = [n for n, z in enumerate(elements) if z not in known]
    given = np.array([known.get(z, 0.0) for z in elements])
    size = counts.sum(axis=1)
    solution, _, rank, _ = np.linalg.lstsq(
        counts[:, open_] / size[:, None], (energies - counts @ given) / size, rcond=1e-8
    )
    given[open_] = solution
    warnings: list[str] = []
    if rank < len(open_):
        warnings.append(
            f"the compositions determine {rank} of {len(open_)} reference energies "
            "(rank of the fit); the others are not unique: energies of other "
            "compositions, such as atomization energies, will be meaningless; add "
            "IsolatedAtom rows if you need them"
        )
    free = ", ".join(chemical_symbols[z] for z in known)
    if known and open_:
        warnings.append(
            f"only the reference energies of {free} are those of isolated atoms; the "
            "others are fitted: atomization energies are meaningless"
        )
    source = f"least_squares (rank {rank} of {len(open_)})"
    return ReferenceEnergies(
        energies=dict(zip(elements, given.tolist(), strict=True)),
        source=f"{source}, isolated atoms of {free}" if known else source,
        rank=int(rank) + len(known),
        warnings=tuple(warnings),
    )


def _complete(
    energies: Mapping[int, float], elements: tuple[int, ...], source: str, origin: str
) -> ReferenceEnergies:
    missing = [chemical_symbols[z] for z in elements if z not in energies]
    if missing:
        raise DataError(
            f"{origin} have no reference energy for {', '.join(missing)}; add it, or "
            'set reference_energies to "least_squares"'
        )
    return ReferenceEnergies(
        {z: float(energies[z]) for z in elements}, source, len(elements)
    )


def _number(name: str) -> int:
    """Atomic number of an element given by its symbol or number."""
    number = int(name) if name.isdigit() else atomic_numbers.get(name, 0)
    if not 1 <= number < len(chemical_symbols):
        raise DataError(f"reference_energies: {name!r} is not an element")
    return number
