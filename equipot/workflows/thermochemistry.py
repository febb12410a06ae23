"""Thermal energies, entropies and free energies from harmonic frequencies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms, units
from jaxtyping import Bool, Float, Int

from equipot.workflows.rigid_motion import turning_axes
from equipot.workflows.symmetry_number import rotational_symmetry_number
from equipot.workflows.vibrations import EV_PER_ROOT, Vibrations

BAR: Final = 1e5
"""Standard pressure in Pa."""

ROTOR_BELOW: Final = 100.0
"""Frequency in cm^-1 at which a mode is half a vibration and half a free rotor."""

SLOWEST: Final = 1e-3
"""Frequency in cm^-1 of a mode that turns like a free rotor if it has none at all."""

MEAN_INERTIA: Final = 1e-44
"""Moment of inertia in kg m^2 that limits that of a free rotor."""


@dataclass(frozen=True)
class Thermochemistry:
    """Energies in eV and entropies in eV/K.

    Attributes:
        model: ``ideal gas`` or ``harmonic``; with quasi-RRHO entropy where it says so.
        per: What they are those of, such as ``per molecule of H2O``.
        temperature: In K.
        pressure: In Pa; None where nothing translates.
        symmetry_number: Of rotations; None where nothing rotates.
        energy: Of the structure, without any motion.
        zero_point_energy: Of all vibrations.
        internal_energy: Energy, zero-point energy and thermal energy.
        enthalpy: Internal energy plus kT for an ideal gas.
        entropies: By contribution.
        imaginary_modes: Modes left out because they do not oscillate.
        notes: What is left out, or treated in another way than the model says.
    """

    model: str
    per: str
    temperature: float
    pressure: float | None
    symmetry_number: int | None
    energy: float
    zero_point_energy: float
    internal_energy: float
    enthalpy: float
    entropies: Mapping[str, float]
    imaginary_modes: int
    notes: tuple[str, ...] = ()

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
        mapped = {"entropies": dict(self.entropies), "notes": list(self.notes)}
        return {**asdict(self), **mapped, **sums}


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

    The molecule may be in a periodic box if it interacts with nothing across the
    boundary. One imaginary mode is left out, as is right for the reaction coordinate
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
        ValueError: If the structure is not one free molecule, a mode cannot be told
            from a motion that costs no energy and `quasi_rrho` is off, more than one
            mode is imaginary, or an argument is not positive.

    Source:
        McQuarrie, Statistical Mechanics (1976), chapters 6 and 8; for quasi-RRHO,
        Grimme, Chem. Eur. J. 18, 9955 (2012), eqs. 3 to 8.
    """
    atoms = vibrations.molecule
    if atoms is None:
        raise ValueError(_why_no_gas(vibrations))
    _positive(temperature=temperature, pressure=pressure, multiplicity=multiplicity)
    if symmetry_number is not None:
        _positive(symmetry_number=symmetry_number)
    rotations = (
        turning_axes(atoms.positions, atoms.get_masses())
        if vibrations.rigid is None
        else vibrations.rigid.rotations
    )
    number = symmetry_number or rotational_symmetry_number(atoms, linear=rotations == 2)
    kT = units.kB * temperature
    zero, thermal, entropy = _oscillators(vibrations, temperature, quasi_rrho)
    internal = vibrations.energy + zero + thermal + (1.5 + rotations / 2) * kT
    return Thermochemistry(
        model="ideal gas, quasi-RRHO" if quasi_rrho else "ideal gas",
        per=vibrations.per,
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
        imaginary_modes=int(_imaginary(vibrations).sum()),
        notes=_notes(vibrations, atoms),
    )


def harmonic(
    vibrations: Vibrations,
    temperature: float = 298.15,
    *,
    multiplicity: int = 1,
    quasi_rrho: bool = False,
) -> Thermochemistry:
    """Oscillators only: atoms on fixed ones, or the modes of a cell at Γ.

    Args:
        vibrations: Modes, such as those of an adsorbate on fixed atoms.
        temperature: In K.
        multiplicity: Of the electronic ground state.
        quasi_rrho: As for `ideal_gas`.

    Raises:
        ValueError: As for `ideal_gas`, except that any structure will do.
    """
    _positive(temperature=temperature, multiplicity=multiplicity)
    zero, thermal, entropy = _oscillators(vibrations, temperature, quasi_rrho)
    internal = vibrations.energy + zero + thermal
    entropies = {"vibration": entropy}
    if multiplicity > 1:
        entropies["electrons"] = units.kB * float(np.log(multiplicity))
    return Thermochemistry(
        model="harmonic, quasi-RRHO" if quasi_rrho else "harmonic",
        per=vibrations.per,
        temperature=temperature,
        pressure=None,
        symmetry_number=None,
        energy=vibrations.energy,
        zero_point_energy=zero,
        internal_energy=internal,
        enthalpy=internal,
        entropies=entropies,
        imaginary_modes=int(_imaginary(vibrations).sum()),
        notes=_notes(vibrations, None),
    )


def _why_no_gas(vibrations: Vibrations) -> str:
    text = "an ideal gas is made of free molecules; this structure "
    if vibrations.rigid is not None and vibrations.rigid.bodies > 1:
        return (
            f"{text}has {vibrations.rigid.bodies} parts that do not interact: give one "
            "molecule at a time"
        )
    return f"{text}is periodic or has fixed atoms: use harmonic()"


def _imaginary(vibrations: Vibrations) -> Bool[np.ndarray, " modes"]:
    return ~vibrations.real & ~vibrations.unresolved


def _notes(vibrations: Vibrations, molecule: Atoms | None) -> tuple[str, ...]:
    """What the numbers leave out."""
    notes = []
    imaginary = np.flatnonzero(_imaginary(vibrations))
    if len(imaginary):
        notes.append(f"mode {_list(vibrations, imaginary)} is left out")
    soft = np.flatnonzero(vibrations.unresolved)
    if len(soft):
        notes.append(
            f"mode {_list(vibrations, soft)} cannot be told from a motion without "
            "energy and is taken for a free rotor"
        )
    if molecule is None and vibrations.rigid is not None:
        left = vibrations.rigid.described()
        if left != "none":
            notes.append(f"motions that cost no energy are left out: {left}")
    if molecule is None and vibrations.atoms.pbc.any():
        notes.append(
            "of a periodic structure these are the modes at Γ only, those in which all "
            "cells move alike; see equipot phonons for the others"
        )
    return tuple(notes)


def _list(vibrations: Vibrations, indices: Int[np.ndarray, " some"]) -> str:
    """Such as ``1 (12.3i cm-1), 2 (0.1 cm-1)``."""
    return ", ".join(
        f"{n + 1} ({abs(nu):.3g}{'i' if nu < 0 else ''} cm-1)"
        for n, nu in zip(indices, vibrations.frequencies[indices], strict=True)
    )


def _oscillators(
    vibrations: Vibrations, temperature: float, quasi_rrho: bool
) -> tuple[float, float, float]:
    """Zero-point energy, thermal energy, entropy."""
    _refuse_undefined(vibrations, quasi_rrho)
    floor = SLOWEST * units.invcm
    curvatures = vibrations.curvatures[~_imaginary(vibrations)]
    quanta = np.maximum(EV_PER_ROOT * np.sqrt(np.abs(curvatures)), floor)
    x = quanta / (units.kB * temperature)
    thermal = quanta / np.expm1(x)
    entropy = units.kB * (x / np.expm1(x) - np.log1p(-np.exp(-x)))
    if quasi_rrho:
        share = 1 / (1 + (ROTOR_BELOW * units.invcm / quanta) ** 4)
        entropy = share * entropy + (1 - share) * _free_rotor(quanta, temperature)
    return float(quanta.sum() / 2), float(thermal.sum()), float(entropy.sum())


def _refuse_undefined(vibrations: Vibrations, quasi_rrho: bool) -> None:
    """No free energy of what is no minimum, nor of modes without a frequency."""
    imaginary = np.flatnonzero(_imaginary(vibrations))
    if len(imaginary) > 1:
        raise ValueError(
            f"{len(imaginary)} imaginary modes, {_list(vibrations, imaginary)}: a free "
            "energy is that of a minimum, or of a transition state with one; relax the "
            "structure off the symmetry that keeps it here"
        )
    soft = np.flatnonzero(vibrations.unresolved)
    if len(soft) and not quasi_rrho:
        raise ValueError(
            f"mode {_list(vibrations, soft)} cannot be told from a motion that costs "
            f"no energy (below {vibrations.resolution:.1f} cm-1, or below 10i), "
            "so its entropy would be arbitrary: relax further, hold what turns or "
            "drifts by fixed atoms, or take soft modes for free rotors with quasi_rrho "
            "(--quasi-rrho)"
        )


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
        if not (value > 0 and np.isfinite(value)):
            raise ValueError(f"{name} must be positive and finite, got {value}")
