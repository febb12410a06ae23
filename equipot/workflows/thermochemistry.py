"""Thermal energies, entropies and free energies from harmonic frequencies."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from ase import Atoms, units
from jaxtyping import Bool, Float, Int

from equipot.workflows.rigid_motion import num_rotation_axes
from equipot.workflows.symmetry_number import rotational_symmetry_number
from equipot.workflows.vibrations import EV_PER_ROOT_CURVATURE, Vibrations

STANDARD_PRESSURE_PA: Final = 1e5
"""Standard pressure in Pa."""

ROTOR_WAVENUMBER: Final = 100.0
"""Frequency in cm^-1 at which a mode counts half as vibration and half as free rotor
(quasi-RRHO)."""

MIN_WAVENUMBER: Final = 1e-3
"""Frequency in cm^-1 assigned to zero modes that are treated as free rotors."""

MAX_ROTOR_INERTIA: Final = 1e-44
"""Moment of inertia in kg m^2 that bounds that of free rotors."""


@dataclass(frozen=True)
class Thermochemistry:
    """Thermochemical quantities: energies in eV and entropies in eV/K.

    Attributes:
        model: ``ideal gas`` or ``harmonic``, with ``, quasi-RRHO`` if used.
        per: Reference amount, such as ``per molecule of H2O``.
        temperature: Temperature in K.
        pressure: Pressure in Pa; None for the harmonic model.
        symmetry_number: Rotational symmetry number; None without rotations.
        energy: Potential energy of the structure.
        zero_point_energy: Zero-point energy of all vibrations.
        internal_energy: Sum of potential, zero-point and thermal energy.
        enthalpy: Internal energy, plus kT for an ideal gas.
        entropies: Entropy by contribution.
        imaginary_modes: Number of imaginary modes, which are left out.
        notes: Notes on contributions that are left out or treated differently.
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
        """Total entropy in eV/K."""
        return sum(self.entropies.values())

    @property
    def free_energy(self) -> float:
        """Gibbs free energy of an ideal gas, otherwise Helmholtz free energy, in eV."""
        return self.enthalpy - self.temperature * self.entropy

    def record(self) -> dict[str, Any]:
        """All fields as plain numbers."""
        sums = {"entropy": self.entropy, "free_energy": self.free_energy}
        mapped = {"entropies": dict(self.entropies), "notes": list(self.notes)}
        return {**asdict(self), **mapped, **sums}


def ideal_gas(
    vibrations: Vibrations,
    temperature: float = 298.15,
    pressure: float = STANDARD_PRESSURE_PA,
    *,
    symmetry_number: int | None = None,
    multiplicity: int = 1,
    quasi_rrho: bool = False,
) -> Thermochemistry:
    """Ideal-gas thermochemistry of a molecule: rigid rotor, harmonic oscillators.

    The molecule may be in a periodic box if it does not interact across the boundary.
    One imaginary mode is left out: the reaction coordinate of a transition state.

    Args:
        vibrations: Normal modes of a molecule.
        temperature: Temperature in K.
        pressure: Pressure in Pa.
        symmetry_number: Rotational symmetry number; determined by default.
        multiplicity: Spin multiplicity of the electronic ground state.
        quasi_rrho: Whether to interpolate the entropy of soft modes to that of free
            rotors around 100 cm^-1, since harmonic entropies diverge at low
            frequencies.

    Raises:
        ValueError: If the structure is not one isolated molecule, a mode is zero within
            its resolution and `quasi_rrho` is not set, more than one mode is imaginary,
            or an argument is not positive.

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
        num_rotation_axes(atoms.positions, atoms.get_masses())
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
    """Harmonic thermochemistry: atoms with fixed neighbors, or a cell at Γ.

    Args:
        vibrations: Normal modes, such as those of an adsorbate on fixed atoms.
        temperature: Temperature in K.
        multiplicity: Spin multiplicity of the electronic ground state.
        quasi_rrho: As for `ideal_gas`.

    Raises:
        ValueError: As for `ideal_gas`, except that any structure is accepted.
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
    text = "an ideal gas needs one isolated molecule; this structure "
    if vibrations.rigid is not None and vibrations.rigid.bodies > 1:
        return (
            f"{text}has {vibrations.rigid.bodies} parts that do not interact: use one "
            "molecule at a time"
        )
    return f"{text}is periodic or has fixed atoms: use harmonic()"


def _imaginary(vibrations: Vibrations) -> Bool[np.ndarray, " modes"]:
    return ~vibrations.real & ~vibrations.unresolved


def _notes(vibrations: Vibrations, molecule: Atoms | None) -> tuple[str, ...]:
    """Notes on contributions that are left out."""
    notes = []
    imaginary = np.flatnonzero(_imaginary(vibrations))
    if len(imaginary):
        notes.append(f"mode {_list(vibrations, imaginary)} is left out")
    soft = np.flatnonzero(vibrations.unresolved)
    if len(soft):
        notes.append(
            f"mode {_list(vibrations, soft)} is zero within its resolution and is "
            "treated as a free rotor"
        )
    if molecule is None and vibrations.rigid is not None:
        left = vibrations.rigid.described()
        if left != "none":
            notes.append(f"zero modes are left out: {left}")
    if molecule is None and vibrations.atoms.pbc.any():
        notes.append(
            "for a periodic structure these are the modes at Γ only; use equipot "
            "phonons for the others"
        )
    return tuple(notes)


def _list(vibrations: Vibrations, indices: Int[np.ndarray, " some"]) -> str:
    """List of modes such as ``1 (12.3i cm-1), 2 (0.1 cm-1)``."""
    return ", ".join(
        f"{n + 1} ({abs(nu):.3g}{'i' if nu < 0 else ''} cm-1)"
        for n, nu in zip(indices, vibrations.frequencies[indices], strict=True)
    )


def _oscillators(
    vibrations: Vibrations, temperature: float, quasi_rrho: bool
) -> tuple[float, float, float]:
    """Zero-point energy, thermal energy and entropy of harmonic oscillators."""
    _refuse_undefined(vibrations, quasi_rrho)
    floor = MIN_WAVENUMBER * units.invcm
    curvatures = vibrations.curvatures[~_imaginary(vibrations)]
    quanta = np.maximum(EV_PER_ROOT_CURVATURE * np.sqrt(np.abs(curvatures)), floor)
    x = quanta / (units.kB * temperature)
    thermal = quanta / np.expm1(x)
    entropy = units.kB * (x / np.expm1(x) - np.log1p(-np.exp(-x)))
    if quasi_rrho:
        share = 1 / (1 + (ROTOR_WAVENUMBER * units.invcm / quanta) ** 4)
        entropy = share * entropy + (1 - share) * _free_rotor(quanta, temperature)
    return float(quanta.sum() / 2), float(thermal.sum()), float(entropy.sum())


def _refuse_undefined(vibrations: Vibrations, quasi_rrho: bool) -> None:
    """Raise for several imaginary modes, and for modes without a defined frequency."""
    imaginary = np.flatnonzero(_imaginary(vibrations))
    if len(imaginary) > 1:
        raise ValueError(
            f"{len(imaginary)} imaginary modes, {_list(vibrations, imaginary)}: a free "
            "energy is defined for a minimum (none) or a transition state (one); break "
            "the symmetry of the structure and relax it again"
        )
    soft = np.flatnonzero(vibrations.unresolved)
    if len(soft) and not quasi_rrho:
        raise ValueError(
            f"mode {_list(vibrations, soft)} is zero within its resolution "
            f"({vibrations.resolution:.1f} cm-1, or 10i cm-1), so its entropy is "
            "undefined: relax further, fix atoms to remove free rotations and "
            "translations, or treat soft modes as free rotors with quasi_rrho "
            "(--quasi-rrho)"
        )


def _free_rotor(
    quanta: Float[np.ndarray, " modes"], temperature: float
) -> Float[np.ndarray, " modes"]:
    """Entropy in eV/K of free rotors with the frequencies of the modes."""
    frequency = quanta * units._e / units._hplanck
    inertia = units._hplanck / (8 * np.pi**2 * frequency)
    inertia = inertia * MAX_ROTOR_INERTIA / (inertia + MAX_ROTOR_INERTIA)
    thermal = units._k * temperature / units._hplanck**2
    return units.kB * (0.5 + np.log(np.sqrt(8 * np.pi**3 * inertia * thermal)))


def _translation(atoms: Atoms, temperature: float, pressure: float) -> float:
    """Translational entropy in eV/K (Sackur-Tetrode)."""
    mass = atoms.get_masses().sum() * units._amu
    kT = units._k * temperature
    waves = (2 * np.pi * mass * kT / units._hplanck**2) ** 1.5
    return units.kB * float(np.log(waves * kT / pressure) + 2.5)


def _rotation(
    atoms: Atoms, rotations: int, temperature: float, symmetry_number: int
) -> float:
    """Rotational entropy in eV/K of a classical rigid rotor."""
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
