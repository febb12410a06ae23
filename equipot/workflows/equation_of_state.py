"""Energy of a crystal against its volume, and the equation of state that fits it."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
from ase import Atoms, units
from ase.eos import EquationOfState
from jaxtyping import Float
from scipy.optimize import OptimizeWarning

from equipot.workflows.crystal import check_crystal
from equipot.workflows.per_what import Contents, contents
from equipot.workflows.relax import LARGE, Relaxation, relax
from equipot.workflows.second_derivatives import HessianFunction

Kind = Literal[
    "birchmurnaghan",
    "sj",
    "taylor",
    "murnaghan",
    "birch",
    "pouriertarantola",
    "vinet",
    "anton-schmidt",
    "p3",
]
"""Equations of state that `ase.eos.EquationOfState` fits."""

Relaxed = Literal["nothing", "atoms", "shape"]
"""What relaxes at each volume; with the shape, the atoms too."""

WITH_DERIVATIVE: Final = (
    "birchmurnaghan",
    "murnaghan",
    "birch",
    "pouriertarantola",
    "vinet",
    "anton-schmidt",
)
"""Kinds whose third parameter is the derivative of the bulk modulus by pressure."""

FEWEST: Final = 5
"""Volumes, for four parameters."""

POOR: Final = 0.02
"""Root mean square of the residuals, as a share of the range of energies, beyond which
an equation of state does not describe the scan."""

DISAGREES: Final = 0.05
"""Share of the range of pressures by which those from the stress and from the fit may
differ."""


@dataclass(frozen=True)
class EquationOfStateResult:
    """A scan of volumes and its fit; all of it per cell.

    Attributes:
        kind: Of the equation, as ASE calls it.
        relaxed: What relaxed at each volume.
        frames: Structures of the scan, in ascending order of volumes.
        volumes: In Å^3 per cell.
        energies: In eV per cell.
        pressures: From the stress, in GPa; empty if the calculator has none.
        volume: At which the fit has its minimum, in Å^3 per cell.
        energy: Of the minimum, in eV per cell.
        bulk_modulus: At the minimum, in GPa.
        bulk_derivative: Of the bulk modulus by pressure; None for kinds without it.
        curve: Energies of the fit on `curve_volumes`, in eV per cell.
        curve_volumes: In Å^3 per cell, from the first to the last of the scan.
        residual: Root mean square of energies minus the fit, in eV per cell.
        cell: What the cell holds.
    """

    kind: str
    relaxed: str
    frames: tuple[Atoms, ...]
    volumes: Float[np.ndarray, " points"]
    energies: Float[np.ndarray, " points"]
    pressures: Float[np.ndarray, " stresses"]
    volume: float
    energy: float
    bulk_modulus: float
    bulk_derivative: float | None
    curve: Float[np.ndarray, " curve"]
    curve_volumes: Float[np.ndarray, " curve"]
    residual: float
    cell: Contents

    @property
    def curve_pressures(self) -> Float[np.ndarray, " curve"]:
        """Of the fit, in GPa: minus the derivative of the energy by the volume."""
        return -np.gradient(self.curve, self.curve_volumes, edge_order=2) / units.GPa

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes the numbers mean less than they seem to, as sentences."""
        found = []
        span = float(np.ptp(self.energies))
        if self.residual > POOR * span:
            found.append(
                f"the fit misses the energies by {1000 * self.residual:.2g} meV per "
                f"cell, of a range of {1000 * span:.2g} meV: the curve has a kink or "
                "another shape, such as that of a change of phase; scan a smaller range"
            )
        if len(self.pressures):
            fit = np.interp(self.volumes, self.curve_volumes, self.curve_pressures)
            off = float(np.abs(fit - self.pressures).max())
            if off > DISAGREES * float(np.ptp(fit)):
                found.append(
                    f"pressures from the stress differ by up to {off:.2g} GPa from "
                    "those of the fitted energies: the stress is not the derivative of "
                    "the energy, or the fit is poor; see `equipot verify`"
                )
        return tuple(found)

    def record(self) -> dict[str, Any]:
        """Everything as plain numbers, with the units in the names."""
        atoms, unit = self.cell.atoms, self.cell.units
        return {
            "kind": self.kind,
            "relaxed": self.relaxed,
            "cell": self.cell.record(),
            "volume_cubic_angstrom_per_cell": self.volume,
            "volume_cubic_angstrom_per_atom": self.volume / atoms,
            "volume_cubic_angstrom_per_formula_unit": self.volume / unit,
            "energy_ev_per_cell": self.energy,
            "energy_ev_per_atom": self.energy / atoms,
            "energy_ev_per_formula_unit": self.energy / unit,
            "bulk_modulus_gpa": self.bulk_modulus,
            "bulk_modulus_pressure_derivative": self.bulk_derivative,
            "residual_ev_per_cell": self.residual,
            "doubts": list(self.doubts),
            "scan": {
                "volumes_cubic_angstrom_per_cell": self.volumes.tolist(),
                "energies_ev_per_cell": self.energies.tolist(),
                "pressures_gpa": self.pressures.tolist() or None,
            },
        }


def equation_of_state(
    atoms: Atoms,
    hessian: HessianFunction | None = None,
    *,
    kind: Kind = "birchmurnaghan",
    points: int = 11,
    span: float = 0.06,
    relaxed: Relaxed = "shape",
    fmax: float = 1e-3,
    hessian_up_to: int | None = None,
    observer: Callable[[int, float, float], None] | None = None,
) -> EquationOfStateResult:
    """Scan volumes around that of a crystal, and fit an equation of state.

    Volumes are spaced evenly. The scan begins at the given one and goes both ways, each
    structure from the one before it.

    Args:
        atoms: Crystal with a calculator.
        hessian: Second derivatives, which help relaxing; as for `relax`.
        kind: Of the equation.
        points: Volumes; an odd number has the given one among them.
        span: Largest change of the volume, as a share of the given one.
        relaxed: What relaxes at each volume. With the shape of the cell, the result is
            the bulk modulus under hydrostatic pressure; with less, an upper bound.
        fmax: Force in eV/Å to which it relaxes.
        hessian_up_to: As for `relax`; its own choice if left out.
        observer: Is told of the number of volumes done, a volume in Å^3 and its energy
            in eV, both per cell.

    Returns:
        Scan and fit.

    Raises:
        ValueError: If the structure is no crystal or has fixed atoms, a relaxation does
            not converge, or the energy has no minimum inside of the scan.
    """
    check_crystal(atoms, "equations of state")
    if kind not in get_args(Kind):
        raise ValueError(
            f"unknown equation of state {kind!r}: expected one of "
            f"{', '.join(get_args(Kind))}"
        )
    if points < FEWEST:
        raise ValueError(f"expected at least {FEWEST} volumes, got {points}")
    if not 0 < span < 0.5:
        raise ValueError(
            f"expected a change of the volume between 0 and 0.5 of it, got {span}"
        )
    if hessian_up_to is None:
        hessian_up_to = LARGE
    scan: dict[int, tuple[Atoms, float, float | None]] = {}
    scales = 1 + np.linspace(-span, span, points)
    middle = points // 2
    for order in (range(middle, points), range(middle - 1, -1, -1)):
        start = atoms if order[0] == middle else scan[middle][0]
        for n in order:
            target = float(scales[n]) * atoms.get_volume()
            scan[n] = _at_volume(
                start, target, atoms, hessian, relaxed, fmax, hessian_up_to
            )
            start = scan[n][0]
            if observer is not None:
                observer(len(scan), target, scan[n][1])
    frames, energies, pressures = zip(*(scan[n] for n in range(points)), strict=True)
    return fit_equation_of_state(
        frames,
        np.array(energies),
        np.array([p for p in pressures if p is not None]),
        kind=kind,
        relaxed=relaxed,
    )


def fit_equation_of_state(
    frames: tuple[Atoms, ...],
    energies: Float[np.ndarray, " points"],
    pressures: Float[np.ndarray, " stresses"],
    *,
    kind: Kind = "birchmurnaghan",
    relaxed: Relaxed = "nothing",
) -> EquationOfStateResult:
    """Fit an equation of state to a scan.

    Args:
        frames: Of one crystal, in ascending order of volumes.
        energies: In eV per cell.
        pressures: In GPa, from the stress; may be empty.
        kind: Of the equation.
        relaxed: What relaxed at each volume.

    Raises:
        ValueError: If the energy has no minimum inside of the scan, the fit does not
            converge, or has its minimum elsewhere or none.
    """
    volumes = np.array([frame.get_volume() for frame in frames])
    _refuse_edge(volumes, energies)
    fit = EquationOfState(volumes, energies, eos=kind)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            warnings.simplefilter("error", OptimizeWarning)
            volume, energy, bulk = (float(np.real(x)) for x in fit.fit(warn=False))
        curve_volumes, curve = (np.asarray(x) for x in fit.getplotdata()[4:6])
    except (RuntimeError, ValueError, RuntimeWarning, OptimizeWarning) as error:
        raise ValueError(
            f"the equation of state {kind} cannot be fitted to these energies: "
            f"{error}; scan another range (--span), or choose another equation (--kind)"
        ) from error
    if not (np.isfinite([volume, energy, bulk]).all() and bulk > 0):
        raise ValueError(
            f"the fit of {kind} has no minimum: the bulk modulus would be "
            f"{bulk / units.GPa:.3g} GPa; scan a smaller range around the minimum"
        )
    if not volumes[0] < volume < volumes[-1]:
        raise ValueError(
            f"the fit of {kind} has its minimum at {volume:.4g} Å^3 per cell, outside "
            f"of the scan from {volumes[0]:.4g} to {volumes[-1]:.4g}: {_RECENTER}"
        )
    at_points = np.asarray(
        fit.fit0(volumes ** -(1 / 3))
        if kind == "sj"
        else fit.func(volumes, *fit.eos_parameters)
    )
    derivative = float(fit.eos_parameters[2]) if kind in WITH_DERIVATIVE else None
    return EquationOfStateResult(
        kind=kind,
        relaxed=relaxed,
        frames=frames,
        volumes=volumes,
        energies=energies,
        pressures=pressures,
        volume=volume,
        energy=energy,
        bulk_modulus=bulk / units.GPa,
        bulk_derivative=derivative,
        curve=curve,
        curve_volumes=curve_volumes,
        residual=float(np.sqrt(np.mean((energies - at_points) ** 2))),
        cell=contents(frames[0].get_chemical_symbols()),
    )


_RECENTER: Final = (
    "relax the cell first (--cell), start from a crystal nearer to its minimum, or "
    "scan a larger range"
)


def _refuse_edge(
    volumes: Float[np.ndarray, " points"], energies: Float[np.ndarray, " points"]
) -> None:
    lowest = int(np.argmin(energies))
    if lowest in (0, len(energies) - 1):
        end = "smallest" if lowest == 0 else "largest"
        raise ValueError(
            f"the energy is lowest at the {end} volume of the scan, "
            f"{volumes[lowest]:.4g} Å^3 per cell, so the minimum is outside of "
            f"{volumes[0]:.4g} to {volumes[-1]:.4g}: {_RECENTER}"
        )


def _at_volume(
    start: Atoms,
    volume: float,
    given: Atoms,
    hessian: HessianFunction | None,
    relaxed: Relaxed,
    fmax: float,
    hessian_up_to: int,
) -> tuple[Atoms, float, float | None]:
    """Structure, energy in eV and pressure in GPa at one volume."""
    atoms = start.copy()
    atoms.calc = given.calc
    scale = float(np.cbrt(volume / atoms.get_volume()))
    atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
    if relaxed != "nothing":
        shape = relaxed == "shape"
        result = relax(
            atoms,
            hessian,
            cell=shape,
            strains=["shape"] if shape else (),
            fmax=fmax,
            hessian_up_to=hessian_up_to,
        )
        _refuse_unfinished(result, volume, fmax)
        atoms = result.atoms
        atoms.calc = given.calc
    energy = float(atoms.get_potential_energy())
    pressure = None
    if "stress" in getattr(given.calc, "implemented_properties", ()):
        pressure = -float(atoms.get_stress()[:3].mean()) / units.GPa
    atoms.calc = None
    return atoms, energy, pressure


def _refuse_unfinished(result: Relaxation, volume: float, fmax: float) -> None:
    if not result.converged:
        raise ValueError(
            f"at {volume:.4g} Å^3 per cell the structure is not relaxed after "
            f"{result.steps} steps: the largest force is {result.max_force:.2g} eV/Å, "
            f"expected less than {fmax:g}; scan a smaller range"
        )
