"""Scan of the energy of a crystal over its volume, and fit of an equation of state."""

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
from equipot.workflows.reference_amount import Contents, contents
from equipot.workflows.relax import MAX_HESSIAN_ATOMS, Relaxation, relax
from equipot.workflows.second_derivatives import HessianFunction
from equipot.workflows.together import evaluate_together

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
"""Degrees of freedom relaxed at each volume; "shape" includes the atoms."""

WITH_DERIVATIVE: Final = (
    "birchmurnaghan",
    "murnaghan",
    "birch",
    "pouriertarantola",
    "vinet",
    "anton-schmidt",
)
"""Kinds whose third parameter is the pressure derivative of the bulk modulus."""

MIN_VOLUMES: Final = 5
"""Smallest number of volumes for a fit of four parameters."""

MAX_RELATIVE_RESIDUAL: Final = 0.02
"""Root mean square of the residuals, relative to the range of energies, above which the
fit is reported as poor."""

MAX_RELATIVE_PRESSURE_DIFFERENCE: Final = 0.05
"""Largest difference of the pressures from the stress and from the fit, relative to the
range of pressures."""


@dataclass(frozen=True)
class EquationOfStateResult:
    """Scan of volumes and fitted equation of state; quantities are per cell.

    Attributes:
        kind: Name of the equation of state in ASE.
        relaxed: Degrees of freedom relaxed at each volume.
        frames: Structures of the scan, in ascending order of volumes.
        volumes: Volumes in Å^3 per cell.
        energies: Energies in eV per cell.
        pressures: Pressures in GPa from the stress; empty if the calculator has none.
        volume: Equilibrium volume of the fit in Å^3 per cell.
        energy: Energy at the equilibrium volume in eV per cell.
        bulk_modulus: Bulk modulus at the equilibrium volume in GPa.
        bulk_derivative: Pressure derivative of the bulk modulus; None for kinds
            without it.
        curve: Energies of the fit at `curve_volumes`, in eV per cell.
        curve_volumes: Volumes in Å^3 per cell, from the first to the last of the scan.
        residual: Root mean square residual of the energies in eV per cell.
        cell: Composition of the cell.
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
        """Pressures of the fit in GPa: minus the volume derivative of the energy."""
        return -np.gradient(self.curve, self.curve_volumes, edge_order=2) / units.GPa

    @property
    def doubts(self) -> tuple[str, ...]:
        """Warnings about the quality of the fit, as sentences."""
        found = []
        span = float(np.ptp(self.energies))
        if self.residual > MAX_RELATIVE_RESIDUAL * span:
            found.append(
                f"root mean square residual of the fit {1000 * self.residual:.2g} meV "
                f"per cell, over a range of {1000 * span:.2g} meV: the energies have a "
                "kink or another shape, for example at a phase transition; scan a "
                "smaller range"
            )
        if len(self.pressures):
            fit = np.interp(self.volumes, self.curve_volumes, self.curve_pressures)
            off = float(np.abs(fit - self.pressures).max())
            if off > MAX_RELATIVE_PRESSURE_DIFFERENCE * float(np.ptp(fit)):
                found.append(
                    f"pressures from the stress differ by up to {off:.2g} GPa from "
                    "those of the fitted energies: the stress is not the derivative of "
                    "the energy, or the fit is poor; run `equipot verify`"
                )
        return tuple(found)

    def record(self) -> dict[str, Any]:
        """All fields as plain numbers, with units in the names of keys."""
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
    """Scan volumes around that of a crystal and fit an equation of state.

    Volumes are evenly spaced. The scan starts at the given volume and proceeds in both
    directions; each relaxation starts from the structure of the previous volume. If
    nothing relaxes, all volumes are evaluated together.

    Args:
        atoms: Crystal with a calculator.
        hessian: Hessian function that accelerates relaxations; as for `relax`.
        kind: Name of the equation of state.
        points: Number of volumes; an odd number includes the given volume.
        span: Largest relative change of the volume.
        relaxed: Degrees of freedom relaxed at each volume. With the shape of the cell,
            the result is the bulk modulus under hydrostatic pressure; otherwise it is
            an upper bound.
        fmax: Convergence threshold of the forces in eV/Å.
        hessian_up_to: As for `relax`; by default the same.
        observer: Called after each volume with the number of completed volumes, the
            volume in Å^3 per cell and its energy in eV per cell.

    Returns:
        Scan and fitted equation of state.

    Raises:
        ValueError: If the structure is not a crystal or has fixed atoms, a relaxation
            does not converge, or the energy has no minimum within the scan.
    """
    check_crystal(atoms, "equations of state")
    if kind not in get_args(Kind):
        raise ValueError(
            f"unknown equation of state {kind!r}: expected one of "
            f"{', '.join(get_args(Kind))}"
        )
    if points < MIN_VOLUMES:
        raise ValueError(f"expected at least {MIN_VOLUMES} volumes, got {points}")
    if not 0 < span < 0.5:
        raise ValueError(
            f"expected a relative change of the volume between 0 and 0.5, got {span}"
        )
    if hessian_up_to is None:
        hessian_up_to = MAX_HESSIAN_ATOMS
    scales = 1 + np.linspace(-span, span, points)
    if relaxed == "nothing":
        return _of_rigid_cells(atoms, scales, kind, observer)
    scan: dict[int, tuple[Atoms, float, float | None]] = {}
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


def _of_rigid_cells(
    atoms: Atoms,
    scales: Float[np.ndarray, " points"],
    kind: Kind,
    observer: Callable[[int, float, float], None] | None,
) -> EquationOfStateResult:
    """Scan in which nothing relaxes, so that all volumes are evaluated together."""
    volumes = (scales * atoms.get_volume()).tolist()
    frames = tuple(_scaled(atoms, volume) for volume in volumes)
    found = evaluate_together(frames, atoms.calc, ("energy", "stress"))
    for n, (volume, result) in enumerate(zip(volumes, found, strict=True)):
        if observer is not None:
            observer(n + 1, volume, result.energy)
    return fit_equation_of_state(
        frames,
        np.array([result.energy for result in found]),
        np.array([_pressure(r.stress) for r in found if r.stress is not None]),
        kind=kind,
    )


def fit_equation_of_state(
    frames: tuple[Atoms, ...],
    energies: Float[np.ndarray, " points"],
    pressures: Float[np.ndarray, " stresses"],
    *,
    kind: Kind = "birchmurnaghan",
    relaxed: Relaxed = "nothing",
) -> EquationOfStateResult:
    """Fit an equation of state to a scan of volumes.

    Args:
        frames: Structures of one crystal, in ascending order of volumes.
        energies: Energies in eV per cell.
        pressures: Pressures in GPa from the stress; may be empty.
        kind: Name of the equation of state.
        relaxed: Degrees of freedom relaxed at each volume.

    Raises:
        ValueError: If the energy has no minimum within the scan, the fit does not
            converge, or the fit has no minimum within the scan.
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
            f"the fit of {kind} has no minimum (bulk modulus "
            f"{bulk / units.GPa:.3g} GPa); scan a smaller range around the minimum"
        )
    if not volumes[0] < volume < volumes[-1]:
        raise ValueError(
            f"the fit of {kind} has its minimum at {volume:.4g} Å^3 per cell, outside "
            f"the scan from {volumes[0]:.4g} to {volumes[-1]:.4g}: {_RECENTER}"
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
    "relax the cell first (--cell), start from a structure closer to the minimum, or "
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
            f"{volumes[lowest]:.4g} Å^3 per cell, so the minimum is outside "
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
    atoms = _scaled(start, volume)
    atoms.calc = given.calc
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
        pressure = _pressure(atoms.get_stress())
    atoms.calc = None
    return atoms, energy, pressure


def _scaled(atoms: Atoms, volume: float) -> Atoms:
    """Copy with another volume in Å^3 and the same fractional coordinates."""
    scaled = atoms.copy()
    scale = float(np.cbrt(volume / atoms.get_volume()))
    scaled.set_cell(atoms.cell.array * scale, scale_atoms=True)
    return scaled


def _pressure(stress: Float[np.ndarray, " 6"]) -> float:
    """Pressure in GPa of a stress in eV/Å^3."""
    return -float(stress[:3].mean()) / units.GPa


def _refuse_unfinished(result: Relaxation, volume: float, fmax: float) -> None:
    if not result.converged:
        raise ValueError(
            f"the relaxation at {volume:.4g} Å^3 per cell did not converge within "
            f"{result.steps} steps: the largest force is {result.max_force:.2g} eV/Å, "
            f"expected less than {fmax:g}; scan a smaller range"
        )
