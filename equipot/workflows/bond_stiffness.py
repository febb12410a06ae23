"""Comparison of force constants of bonds with experimental ranges."""

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

MAX_BOND_LENGTH_RATIO: Final = 1.25
"""Largest bond length, relative to the sum of the covalent radii."""

TO_HYDROGEN: Final = {
    "H": 5.8, "B": 4.2, "C": 6.5, "N": 7.2, "O": 8.6, "F": 9.7, "Si": 3.0, "P": 3.6,
    "S": 4.5, "Cl": 5.2, "Br": 4.2, "I": 3.2,
}  # fmt: skip
"""Largest force constants in mdyn/Å of bonds to hydrogen, from H2, HCN and HF among
others: Huber and Herzberg, Constants of Diatomic Molecules (1979); Herzberg, Infrared
and Raman Spectra (1945)."""

MAX_STIFFNESS_OTHER_TO_HYDROGEN: Final = 3.6
"""Largest force constant in mdyn/Å of bonds of other elements to hydrogen."""

SECOND_PERIOD: Final = {"B", "C", "N", "O", "F"}
"""Elements with the stiffest bonds."""

MAX_STIFFNESS_WITH_SECOND_PERIOD: Final = 10.5
"""Largest force constant in mdyn/Å of bonds with one element of the second period, as
in SO3, PN and OsO4."""

MAX_STIFFNESS_OTHER: Final = 8.5
"""Largest force constant in mdyn/Å of bonds without them; that of Mo2 is 6.4."""

MAX_STIFFNESS_FACTOR: Final = 1.4
"""Largest accepted ratio of a force constant to the largest known one."""

MAX_COMPRESSION_A: Final = 0.05
"""Largest displacement in Å of a bond from its minimum by the residual forces; within
it, the force constant increases by less than half."""

MAX_STATIONARY_FORCE: Final = 0.01
"""Largest force in eV/Å at a stationary point."""

MIN_STIFFNESS_TO_HYDROGEN: Final = 1.3
"""Smallest accepted force constant in mdyn/Å of an unstretched bond of C, N, O or F to
hydrogen; experimental ones are 4 or more."""

MAX_UNSTRETCHED_LENGTH_A: Final = 1.12
"""Largest length in Å at which such a bond counts as unstretched."""

MISTAKES: Final = {
    "forces were twice as large as they are": 2.0,
    "kcal/mol were taken for eV": 23.0605,
    "kJ/mol were taken for eV": 96.4853,
    "meV were taken for eV": 1000.0,
}
"""Factor on force constants by mistake in the units of training data."""

MAX_UNIT_ERROR_FACTOR: Final = 1.5
"""Largest ratio between a force constant and that expected from a mistake."""


@dataclass(frozen=True)
class Bond:
    """Bond between two atoms with its force constant.

    Attributes:
        first: Index of one atom.
        second: Index of the other.
        length: Bond length in Å.
        stiffness: Force constant in mdyn/Å.
        symbols: Element symbols of both atoms.
        stretch: Frequency in cm^-1 of the isolated bond, with the masses of its atoms.
    """

    first: int
    second: int
    length: float
    stiffness: float
    symbols: tuple[str, str]
    stretch: float

    @property
    def stiffest(self) -> float:
        """Largest known force constant in mdyn/Å of bonds of these elements.

        Between elements of the second period it depends on the length, following
        ethane, ethylene, acetylene and nitrogen: 4.5, 9.4, 16.5 and 27 mdyn/Å.
        """
        first, second = self.symbols
        if "H" in self.symbols:
            other = second if first == "H" else first
            return TO_HYDROGEN.get(other, MAX_STIFFNESS_OTHER_TO_HYDROGEN)
        light = len(SECOND_PERIOD & {first}) + len(SECOND_PERIOD & {second})
        if light == 2:
            return 17.0 * float((1.2 / self.length) ** 5.4)
        return MAX_STIFFNESS_WITH_SECOND_PERIOD if light else MAX_STIFFNESS_OTHER

    def described(self) -> str:
        """Description such as ``O-H bond of atoms 0 and 1``."""
        first, second = self.symbols
        return f"{first}-{second} bond of atoms {self.first} and {self.second}"


def bonds(atoms: Atoms, matrix: Float[np.ndarray, "n n"]) -> list[Bond]:
    r"""Bonds of a structure with their force constants.

    The force constant is :math:`-n \cdot H_{ij} n` along the bond, independent of
    masses. If several periodic images of an atom are bonded to the same neighbor, whose
    block of the Hessian is their sum, the force constant is that of one of the bonds.

    Args:
        atoms: Structure.
        matrix: Its second derivatives in eV/Å^2.
    """
    return list(_bonds(atoms, matrix))


def too_stiff(
    atoms: Atoms, matrix: Float[np.ndarray, "n n"], max_force: float
) -> str | None:
    """Check for bonds that are stiffer than any known bond.

    Compressed bonds are stiffer than at their minimum, so only bonds that the residual
    forces displace little are checked.

    Args:
        atoms: Structure.
        matrix: Its second derivatives in eV/Å^2.
        max_force: Largest force on a free atom, in eV/Å.

    Returns:
        Message with a probable cause; None if no bond is too stiff.
    """
    found = [
        b
        for b in bonds(atoms, matrix)
        if b.stiffness > MAX_STIFFNESS_FACTOR * b.stiffest
        and max_force < MAX_COMPRESSION_A * b.stiffness * EV_PER_MDYN
    ]
    if not found:
        return None
    return _too_stiff(max(found, key=lambda b: b.stiffness / b.stiffest))


def too_soft(
    atoms: Atoms, matrix: Float[np.ndarray, "n n"], max_force: float
) -> tuple[str, ...]:
    """Check for bonds to hydrogen that are softer than any known; at stationary points.

    Args:
        atoms: Structure.
        matrix: Its second derivatives in eV/Å^2.
        max_force: Largest force on a free atom, in eV/Å.

    Returns:
        One message, or none if no bond is too soft.
    """
    found = [b for b in bonds(atoms, matrix) if _is_too_soft(b)]
    if not found or max_force > MAX_STATIONARY_FORCE:
        return ()
    return (_too_soft(min(found, key=lambda b: b.stiffness)),)


def _bonds(atoms: Atoms, matrix: Float[np.ndarray, "n n"]) -> Iterator[Bond]:
    radii = covalent_radii[atoms.numbers]
    reach = 2 * MAX_BOND_LENGTH_RATIO * float(radii.max(initial=0.0))
    i, j, distances, vectors = neighbor_list("ijdD", atoms, reach)
    near = (i < j) & (distances < MAX_BOND_LENGTH_RATIO * (radii[i] + radii[j]))
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
        and bond.length < MAX_UNSTRETCHED_LENGTH_A
        and bond.stiffness < MIN_STIFFNESS_TO_HYDROGEN
    )


def _too_stiff(bond: Bond) -> str:
    ratio = bond.stiffness / bond.stiffest
    name, factor = min(
        MISTAKES.items(), key=lambda item: abs(np.log(1.2 * ratio / item[1]))
    )
    guess = (
        f"the value is as if {name}"
        if 1 / MAX_UNIT_ERROR_FACTOR < 1.2 * ratio / factor < MAX_UNIT_ERROR_FACTOR
        else "energies or forces of the training data are probably not in eV and eV/Å"
    )
    return (
        f"the {bond.described()} is stiffer than any known bond: force constant "
        f"{bond.stiffness:.3g} mdyn/Å at {bond.length:.3f} Å (stretching frequency "
        f"about {bond.stretch:.0f} cm-1), expected at most {bond.stiffest:.2g} mdyn/Å. "
        f"Check the units of the training data: {guess}"
    )


def _too_soft(bond: Bond) -> str:
    return (
        f"the {bond.described()} is softer than any known bond: force constant "
        f"{bond.stiffness:.3g} mdyn/Å at {bond.length:.3f} Å (stretching frequency "
        f"about {bond.stretch:.0f} cm-1), expected at least 4 mdyn/Å for these "
        "elements. Either the model is not trained on similar structures, or energies "
        "or forces of its training data were in Hartree instead of eV"
    )
