"""Force constants of bonds beside those of the bonds of nature."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from ase import Atoms, units
from ase.data import chemical_symbols, covalent_radii
from ase.neighborlist import neighbor_list
from jaxtyping import Float

EV_PER_MDYN: Final = 1e2 / units._e * 1e-20
"""Force constant in eV/Å^2 of 1 mdyn/Å, which is 100 N/m: 6.24."""

BONDED: Final = 1.25
"""Atoms are bonded up to this many times the sum of their covalent radii."""

TO_HYDROGEN: Final = {
    "H": 5.8, "B": 4.2, "C": 6.5, "N": 7.2, "O": 8.6, "F": 9.7, "Si": 3.0, "P": 3.6,
    "S": 4.5, "Cl": 5.2, "Br": 4.2, "I": 3.2,
}  # fmt: skip
"""Largest force constants in mdyn/Å of bonds to hydrogen, from H2, HCN and HF among
others: Huber and Herzberg, Constants of Diatomic Molecules (1979); Herzberg, Infrared
and Raman Spectra (1945)."""

OTHERS_TO_HYDROGEN: Final = 3.6
"""The same for all other elements, in mdyn/Å."""

SECOND_PERIOD: Final = {"B", "C", "N", "O", "F"}
"""Elements of the stiffest bonds."""

MIXED: Final = 10.5
"""Largest force constant in mdyn/Å with one of them, as of SO3, PN and OsO4."""

HEAVY: Final = 8.5
"""Largest force constant in mdyn/Å without them; that of Mo2 is 6.4."""

MARGIN: Final = 1.4
"""A potential may be this many times stiffer than the stiffest bond."""

COMPRESSED: Final = 0.05
"""Displacement in Å by which forces may have moved a bond from its minimum; there, its
force constant has not yet grown by half."""

STATIONARY: Final = 0.01
"""Largest force in eV/Å of a stationary point."""

SOFTEST_TO_HYDROGEN: Final = 1.3
"""Smallest force constant in mdyn/Å of a bond of C, N, O or F to hydrogen that is not
stretched; those of nature are 4 and more."""

UNSTRETCHED: Final = 1.12
"""Length in Å up to which such a bond is not stretched."""

MISTAKES: Final = {
    "forces were twice as large as they are": 2.0,
    "kcal/mol were taken for eV": 23.0605,
    "kJ/mol were taken for eV": 96.4853,
    "meV were taken for eV": 1000.0,
}
"""How many times stiffer bonds become by mistakes in the units of training data."""

LIKELY: Final = 1.5
"""A mistake explains a force constant within this factor."""


@dataclass(frozen=True)
class Bond:
    """Two atoms that are bonded, and the force constant of their bond.

    Attributes:
        first: Index of one atom.
        second: Index of the other.
        length: In Å.
        stiffness: In mdyn/Å.
        symbols: Of both elements.
        stretch: Frequency in cm^-1 of the bond by itself, with the masses of its atoms.
    """

    first: int
    second: int
    length: float
    stiffness: float
    symbols: tuple[str, str]
    stretch: float

    @property
    def stiffest(self) -> float:
        """Largest force constant in mdyn/Å of bonds of these elements.

        Between elements of the second period by length, as those of ethane, ethylene,
        acetylene and nitrogen: 4.5, 9.4, 16.5 and 27 mdyn/Å.
        """
        first, second = self.symbols
        if "H" in self.symbols:
            other = second if first == "H" else first
            return TO_HYDROGEN.get(other, OTHERS_TO_HYDROGEN)
        light = len(SECOND_PERIOD & {first}) + len(SECOND_PERIOD & {second})
        if light == 2:
            return 17.0 * float((1.2 / self.length) ** 5.4)
        return MIXED if light else HEAVY

    def described(self) -> str:
        """Such as ``O-H bond of atoms 0 and 1``."""
        first, second = self.symbols
        return f"{first}-{second} bond of atoms {self.first} and {self.second}"


def bonds(atoms: Atoms, matrix: Float[np.ndarray, "n n"]) -> list[Bond]:
    r"""Bonds of a structure with their force constants.

    The force constant is :math:`-n \cdot H_{ij} n` along the bond, which does not
    depend on masses. Where images of an atom are bonded to the same neighbor, whose
    second derivatives are those of all of them, it is that of one.

    Args:
        atoms: Structure.
        matrix: Its second derivatives in eV/Å^2.
    """
    return list(_bonds(atoms, matrix))


def too_stiff(
    atoms: Atoms, matrix: Float[np.ndarray, "n n"], max_force: float
) -> str | None:
    """Say which bond is stiffer than any in nature, and why that may be.

    A bond that is compressed is stiffer than at its minimum, so a bond counts if the
    forces that are left displace it little.

    Args:
        atoms: Structure.
        matrix: Its second derivatives in eV/Å^2.
        max_force: Largest force on a free atom, in eV/Å.

    Returns:
        A sentence; None where every bond is possible.
    """
    found = [
        b
        for b in bonds(atoms, matrix)
        if b.stiffness > MARGIN * b.stiffest
        and max_force < COMPRESSED * b.stiffness * EV_PER_MDYN
    ]
    if not found:
        return None
    return _too_stiff(max(found, key=lambda b: b.stiffness / b.stiffest))


def too_soft(
    atoms: Atoms, matrix: Float[np.ndarray, "n n"], max_force: float
) -> tuple[str, ...]:
    """Say which bond to hydrogen is softer than any in nature; at stationary points.

    Args:
        atoms: Structure.
        matrix: Its second derivatives in eV/Å^2.
        max_force: Largest force on a free atom, in eV/Å.

    Returns:
        A sentence, or none where every bond is possible.
    """
    found = [b for b in bonds(atoms, matrix) if _is_too_soft(b)]
    if not found or max_force > STATIONARY:
        return ()
    return (_too_soft(min(found, key=lambda b: b.stiffness)),)


def _bonds(atoms: Atoms, matrix: Float[np.ndarray, "n n"]) -> Iterator[Bond]:
    radii = covalent_radii[atoms.numbers]
    reach = 2 * BONDED * float(radii.max(initial=0.0))
    i, j, distances, vectors = neighbor_list("ijdD", atoms, reach)
    near = (i < j) & (distances < BONDED * (radii[i] + radii[j]))
    i, j, distances, vectors = (a[near] for a in (i, j, distances, vectors))
    masses = atoms.get_masses()
    pairs = i * len(atoms) + j
    for pair in np.unique(pairs):
        images = np.flatnonzero(pairs == pair)
        directions = vectors[images] / distances[images, None]
        shortest = int(np.argmin(distances[images]))
        a, b = int(i[images[0]]), int(j[images[0]])
        along = directions[shortest]
        block = matrix[3 * a : 3 * a + 3, 3 * b : 3 * b + 3]
        count = float(((directions @ along) ** 2).sum())
        constant = float(-along @ block @ along) / count
        reduced = masses[a] * masses[b] / (masses[a] + masses[b])
        yield Bond(
            first=a,
            second=b,
            length=float(distances[images[shortest]]),
            stiffness=constant / EV_PER_MDYN,
            symbols=(
                chemical_symbols[atoms.numbers[a]],
                chemical_symbols[atoms.numbers[b]],
            ),
            stretch=_wavenumber(constant, float(reduced)),
        )


def _wavenumber(constant: float, mass: float) -> float:
    """Frequency in cm^-1 of a force constant in eV/Å^2 and a mass in amu."""
    root = float(np.sqrt(max(constant, 0.0) / mass * units._e / units._amu)) * 1e10
    return root / (2 * np.pi * units._c * 100)


def _is_too_soft(bond: Bond) -> bool:
    return (
        "H" in bond.symbols
        and bool({"C", "N", "O", "F"} & set(bond.symbols))
        and bond.length < UNSTRETCHED
        and bond.stiffness < SOFTEST_TO_HYDROGEN
    )


def _too_stiff(bond: Bond) -> str:
    ratio = bond.stiffness / bond.stiffest
    name, factor = min(
        MISTAKES.items(), key=lambda item: abs(np.log(1.2 * ratio / item[1]))
    )
    guess = (
        f"that is as if {name}"
        if 1 / LIKELY < 1.2 * ratio / factor < LIKELY
        else "energies or forces of the training data are probably not in eV and eV/Å"
    )
    return (
        f"no bond is as stiff as the {bond.described()}: a force constant of "
        f"{bond.stiffness:.3g} mdyn/Å at {bond.length:.3f} Å, a stretch at about "
        f"{bond.stretch:.0f} cm-1, where {bond.stiffest:.2g} mdyn/Å is the most that "
        f"is known. Check the units of what the model was trained on: {guess}"
    )


def _too_soft(bond: Bond) -> str:
    return (
        f"no bond is as soft as the {bond.described()}: a force constant of "
        f"{bond.stiffness:.3g} mdyn/Å at {bond.length:.3f} Å, a stretch at about "
        f"{bond.stretch:.0f} cm-1, where bonds of these elements have 4 mdyn/Å or "
        "more. Either the model does not know this structure, or the energies or "
        "forces that it was trained on were in Hartree, not in eV"
    )
