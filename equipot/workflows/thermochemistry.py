"""Thermal energies, entropies and free energies from harmonic frequencies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms, units
from jaxtyping import Float

from equipot.workflows.rigid_motion import rigid_motions
from equipot.workflows.symmetry_number import rotational_symmetry_number
from equipot.workflows.vibrations import Vibrations

BAR: Final = 1e5
"""Standard pressure in Pa."""

ROTOR_BELOW: Final = 100.0
"""Frequency in cm^-1 at which a mode is half a vibration and half a free rotor."""

MEAN_INERTIA: Final = 1e-44
"""Moment of inertia in kg m^2 that limits that of a free rotor."""


@dataclass(frozen=True)
class Thermochemistry:
    """Energies in eV and entropies in eV/K of one molecule.

    Attributes:
        model: ``ideal gas`` or ``harmonic``; with quasi-RRHO entropy where it says so.
        temperature: In K.
        pressure: In Pa; None where nothing translates.
        symmetry_number: Of rotations; None where nothing rotates.
        energy: Of the structure, without any motion.
        zero_point_energy: Of all vibrations.
        internal_energy: Energy, zero-point energy and thermal energy.
        enthalpy: Internal energy plus kT for an ideal gas.
        entropies: By contribution.
        imaginary_modes: Modes left out because they do not oscillate.
    """

    model: str
    temperature: float
    pressure: float | None
    symmetry_number: int | None
    energy: float
    zero_point_energy: float
    internal_energy: float
    enthalpy: float
    entropies: Mapping[str, float]
    imaginary_modes: int

    @property
    def entropy(self) -> float:
        """Sum of all contributions, in eV/K."""
        return sum(self.entropies.values())

    @property
    def free_energy(self) -> float:
        """Gibbs energy of an ideal gas, Helmholtz energy of a solid, in eV."""
        return self.enthalpy - self.temperature * self.entropy

    def record(self) -> dict[str, Any]:
        """Everything as plain numbers."""
        sums = {"entropy": self.entropy, "free_energy": self.free_energy}
        return {**asdict(self), "entropies": dict(self.entropies), **sums}


def ideal_gas(
    vibrations: Vibrations,
    temperature: float = 298.15,
    pressure: float = BAR,
    *,
    symmetry_number: int | None = None,
    multiplicity: int = 1,
    quasi_rrho: bool = False,
) -> Thermochemistry:
    """A molecule in the gas: rigid rotor and harmonic oscillators.

    Modes that do not oscillate are left out, as is right for the reaction coordinate
    of a transition state.

    Args:
        vibrations: Modes of a molecule.
        temperature: In K.
        pressure: In Pa.
        symmetry_number: Rotations that leave the molecule as it is; found if left out.
        multiplicity: Of the electronic ground state.
        quasi_rrho: Whether the entropy of soft modes turns into that of free rotors
            below 100 cm^-1, as harmonic entropies diverge there.

    Raises:
        ValueError: If the structure is periodic or has fixed atoms, or an argument is
            not positive.

    Source:
        McQuarrie, Statistical Mechanics (1976), chapters 6 and 8; for quasi-RRHO,
        Grimme, Chem. Eur. J. 18, 9955 (2012), eqs. 3 to 8.
    """
    atoms = vibrations.atoms
    if atoms.pbc.any() or atoms.constraints:
        raise ValueError(
            "an ideal gas is made of free molecules; this structure is periodic or "
            "has fixed atoms: use harmonic()"
        )
    _positive(temperature=temperature, pressure=pressure, multiplicity=multiplicity)
    number = symmetry_number or rotational_symmetry_number(atoms)
    kT = units.kB * temperature
    rotations = rigid_motions(atoms, atoms.get_masses()).shape[1] - 3
    zero, thermal, entropy = _oscillators(vibrations, temperature, quasi_rrho)
    internal = vibrations.energy + zero + thermal + (1.5 + rotations / 2) * kT
    return Thermochemistry(
        model="ideal gas, quasi-RRHO" if quasi_rrho else "ideal gas",
        temperature=temperature,
        pressure=pressure,
        symmetry_number=number,
        energy=vibrations.energy,
        zero_point_energy=zero,
        internal_energy=internal,
        enthalpy=internal + kT,
        entropies={
            "translation": _translation(atoms, temperature, pressure),
            "rotation": _rotation(atoms, rotations, temperature, number),
            "vibration": entropy,
            "electrons": units.kB * float(np.log(multiplicity)),
        },
        imaginary_modes=int((~vibrations.real).sum()),
    )


def harmonic(
    vibrations: Vibrations, temperature: float = 298.15, *, quasi_rrho: bool = False
) -> Thermochemistry:
    """Free atoms of a structure that neither translates nor rotates.

    Args:
        vibrations: Modes, such as those of an adsorbate on fixed atoms.
        temperature: In K.
        quasi_rrho: As for `ideal_gas`.
    """
    _positive(temperature=temperature)
    zero, thermal, entropy = _oscillators(vibrations, temperature, quasi_rrho)
    internal = vibrations.energy + zero + thermal
    return Thermochemistry(
        model="harmonic, quasi-RRHO" if quasi_rrho else "harmonic",
        temperature=temperature,
        pressure=None,
        symmetry_number=None,
        energy=vibrations.energy,
        zero_point_energy=zero,
        internal_energy=internal,
        enthalpy=internal,
        entropies={"vibration": entropy},
        imaginary_modes=int((~vibrations.real).sum()),
    )


def _oscillators(
    vibrations: Vibrations, temperature: float, quasi_rrho: bool
) -> tuple[float, float, float]:
    """Zero-point energy, thermal energy, entropy."""
    quanta = vibrations.quanta
    x = quanta / (units.kB * temperature)
    thermal = quanta / np.expm1(x)
    entropy = units.kB * (x / np.expm1(x) - np.log1p(-np.exp(-x)))
    if quasi_rrho:
        share = 1 / (1 + (ROTOR_BELOW * units.invcm / quanta) ** 4)
        entropy = share * entropy + (1 - share) * _free_rotor(quanta, temperature)
    return float(quanta.sum() / 2), float(thermal.sum()), float(entropy.sum())


def _free_rotor(
    quanta: Float[np.ndarray, " modes"], temperature: float
) -> Float[np.ndarray, " modes"]:
    """Entropy in eV/K of rotors whose frequencies would be those of the modes."""
    frequency = quanta * units._e / units._hplanck
    inertia = units._hplanck / (8 * np.pi**2 * frequency)
    inertia = inertia * MEAN_INERTIA / (inertia + MEAN_INERTIA)
    thermal = units._k * temperature / units._hplanck**2
    return units.kB * (0.5 + np.log(np.sqrt(8 * np.pi**3 * inertia * thermal)))


def _translation(atoms: Atoms, temperature: float, pressure: float) -> float:
    """Sackur-Tetrode, in eV/K."""
    mass = atoms.get_masses().sum() * units._amu
    kT = units._k * temperature
    waves = (2 * np.pi * mass * kT / units._hplanck**2) ** 1.5
    return units.kB * float(np.log(waves * kT / pressure) + 2.5)


def _rotation(
    atoms: Atoms, rotations: int, temperature: float, symmetry_number: int
) -> float:
    """Classical rigid rotor, in eV/K."""
    if rotations == 0:
        return 0.0
    inertia = atoms.get_moments_of_inertia() * units._amu * 1e-20
    ratios = 8 * np.pi**2 * inertia * units._k * temperature / units._hplanck**2
    if rotations == 2:
        states = ratios.max() / symmetry_number
        return units.kB * float(np.log(states) + 1.0)
    states = np.sqrt(np.pi * ratios.prod()) / symmetry_number
    return units.kB * float(np.log(states) + 1.5)


def _positive(**values: float | int) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
