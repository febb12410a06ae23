"""All analyses of one trajectory, with notes on those that are not possible."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import fs, kB
from jaxtyping import Float

from equipot.md.analysis.blocks import Average, average
from equipot.md.analysis.diffusion import CM2_PER_S_PER_A2_PER_PS, Diffusion, diffusion
from equipot.md.analysis.radial import Radial, radial_distribution
from equipot.md.analysis.spectrum import CM_PER_THZ, Spectrum, spectrum
from equipot.md.analysis.trajectory import Trajectory
from equipot.units import GPA_PER_EV_PER_A3

G_PER_CM3_PER_U_PER_A3 = 1.66053906892
"""Density in g/cm^3 of 1 u/Å^3."""
MAX_HALF_DIFFERENCE = 4.0
"""Difference between the means of both halves of a series, in standard errors, above
which the series is reported as not equilibrated."""
LOG_COLUMNS = {
    "temperature": ("temperature_K", "K"),
    "potential energy per cell": ("potential_energy_eV", "eV"),
    "pressure": ("pressure_GPa", "GPa"),
    "volume of the cell": ("volume_A3", "Å^3"),
}
"""Columns of the log of a run."""


@dataclass(frozen=True)
class Analysis:
    """Results of all analyses of a trajectory."""

    trajectory: Trajectory
    averages: dict[str, tuple[Average, str]]
    """Average and unit, by quantity."""
    radial: Radial | None
    diffusion: list[Diffusion]
    spectrum: Spectrum | None
    notes: tuple[str, ...]
    """Changes made to the data, and analyses left out with the reason."""

    def lines(self) -> list[str]:
        """Text lines for a terminal."""
        trajectory = self.trajectory
        times = "" if trajectory.interval is None else f", {self.duration:g} ps"
        frames, atoms = len(trajectory), len(trajectory.numbers)
        lines = [
            f"{frames} frame{'s' * (frames != 1)} of {atoms} atom{'s' * (atoms != 1)}"
            f"{times}"
        ]
        for name, (value, unit) in self.averages.items():
            lines.append(f"{name:26} {shown(value, unit)}")
        if self.radial is not None:
            for pair in self.radial.functions:
                place, height = self.radial.first_peak(pair)
                peak = f"maximum {height:.3g} at {place:.3f} Å"
                if not height:
                    peak = f"no pair within {self.radial.distances[-1]:.2f} Å"
                lines.append(f"g(r) {pair:21} {peak}")
        for entry in self.diffusion:
            name = f"diffusion of {entry.element}"
            lines.append(f"{name:26} {coefficient(entry)}")
        if self.spectrum is not None:
            place = self.spectrum.frequencies[self.spectrum.total.argmax()]
            lines.append(
                f"{'density of states':26} maximum at {place:.2f} THz = "
                f"{place * CM_PER_THZ:.0f} cm-1, resolution "
                f"{self.spectrum.resolution:.2g} THz"
            )
        return lines

    @property
    def duration(self) -> float:
        """Time from the first to the last frame in ps; 0 if not known."""
        return (self.trajectory.interval or 0.0) * (len(self.trajectory) - 1)

    def record(self) -> dict[str, Any]:
        """All results as JSON values, with units in the names of keys."""
        trajectory = self.trajectory
        return {
            "trajectory": trajectory.source,
            "frames": len(trajectory),
            "atoms": len(trajectory.numbers),
            "interval_ps": trajectory.interval,
            "degrees_of_freedom": trajectory.degrees_of_freedom,
            "averages": {
                name: {"unit": unit, **value.record()}
                for name, (value, unit) in self.averages.items()
            },
            "radial_distribution": _radial_record(self.radial),
            "diffusion": [
                _diffusion_record(entry, trajectory.interval or 0.0)
                for entry in self.diffusion
            ],
            "spectrum": _spectrum_record(self.spectrum),
            "notes": list(self.notes),
        }


def analyze(
    trajectory: Trajectory,
    *,
    log: Path | None = None,
    discard: float = 0.0,
    reach: float | None = None,
    bins: int = 200,
) -> Analysis:
    """Compute averages, radial distribution functions, diffusion and spectrum.

    Args:
        trajectory: Trajectory to analyze, already without the discarded frames.
        log: ``log.csv`` of the run, whose rows replace the values of the frames.
        discard: Time in ps left out at the beginning of the log.
        reach: Largest distance of the radial distribution in Å.
        bins: Number of bins of the radial distribution.

    Raises:
        ValueError: If `reach` exceeds half of the smallest height of the cell.
    """
    notes = list(trajectory.notes)
    if len(trajectory) == 1:
        notes.append(
            "a single frame: diffusion and spectrum are not computed; write frames "
            "more often (record.trajectory), run longer, or discard less (--discard)"
        )
    radial = None
    if trajectory.pbc.all():
        radial = radial_distribution(trajectory, reach=reach, bins=bins)
    else:
        notes.append("no radial distribution: the structure is not 3D-periodic")
    moving: list[Diffusion] = []
    if trajectory.interval is not None and len(trajectory) > 1:
        moving, more = diffusion(trajectory)
        notes += more
    states = None
    if len(trajectory) > 1:
        try:
            states = spectrum(trajectory)
        except ValueError as error:  # other results are valid; the note has the reason
            notes.append(f"no density of states: {error}")
    averages = _averages(trajectory, log, discard)
    for name, (value, _) in averages.items():
        if value.change is not None and abs(value.change) > MAX_HALF_DIFFERENCE:
            notes.append(
                f"the {name} is not equilibrated: the means of both halves differ by "
                f"{abs(value.change):.1f} standard errors; discard more of the "
                "beginning (--discard)"
            )
    return Analysis(trajectory, averages, radial, moving, states, tuple(notes))


def shown(value: Average, unit: str) -> str:
    """Mean and standard error to its second digit, such as ``300.2 ± 1.4 K``."""
    if value.error is None:
        return f"{value.mean:.6g} {unit} (run too short for an error estimate)"
    if value.error == 0:
        return f"{value.mean:.6g} {unit} (constant)"
    decimals = min(max(1 - math.floor(math.log10(value.error)), 0), 9)
    return f"{mean_text(value)} ± {value.error:.{decimals}f} {unit}"


def mean_text(value: Average) -> str:
    """Mean to the second digit of its error; six digits without an error."""
    if not value.error:
        return f"{value.mean:.6g}"
    decimals = min(max(1 - math.floor(math.log10(value.error)), 0), 9)
    return f"{value.mean:.{decimals}f}"


def coefficient(entry: Diffusion) -> str:
    """Diffusion coefficient with error and unit, or the reason why there is none."""
    if entry.coefficient is None or entry.error is None:
        return entry.remark
    return (
        f"{entry.coefficient:.3g} ± {entry.error:.2g} Å²/ps = "
        f"{entry.coefficient * CM2_PER_S_PER_A2_PER_PS:.3g} cm²/s"
    )


def _averages(
    trajectory: Trajectory, log: Path | None, discard: float
) -> dict[str, tuple[Average, str]]:
    series = _series(trajectory)
    if log is not None:
        series.update(_logged(log, discard))
    if (volumes := trajectory.volumes) is not None:
        mass = float(trajectory.masses.sum())
        series["density"] = (mass / volumes * G_PER_CM3_PER_U_PER_A3, "g/cm^3")
    return {
        name: (average(values), unit)
        for name, (values, unit) in series.items()
        if len(values)
    }


def _series(
    trajectory: Trajectory,
) -> dict[str, tuple[Float[np.ndarray, " frames"], str]]:
    """Time series of the frames, with units."""
    series = {}
    heat = None
    if trajectory.velocities is not None and trajectory.degrees_of_freedom:
        speeds = (trajectory.velocities / fs) ** 2
        heat = np.einsum("a,tai->t", trajectory.masses, speeds)
        series["temperature"] = (heat / (trajectory.degrees_of_freedom * kB), "K")
    if trajectory.energies is not None:
        series["potential energy per cell"] = (trajectory.energies, "eV")
    volumes = trajectory.volumes
    if volumes is not None:
        series["volume of the cell"] = (volumes, "Å^3")
        if trajectory.pressures is not None and heat is not None:
            pressure = trajectory.pressures + heat / (3 * volumes)
            series["pressure"] = (pressure * GPA_PER_EV_PER_A3, "GPa")
    return series


def _logged(
    path: Path, discard: float
) -> dict[str, tuple[Float[np.ndarray, " rows"], str]]:
    """Time series of the log of a run, with units."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [row for row in rows if float(row["time_ps"]) >= discard - 1e-9]
    series = {}
    for name, (column, unit) in LOG_COLUMNS.items():
        cells = [row.get(column, "") for row in kept]
        if cells and all(cells):
            series[name] = (np.array([float(cell) for cell in cells]), unit)
    return series


def _radial_record(radial: Radial | None) -> dict[str, Any] | None:
    if radial is None:
        return None
    return {
        "distance_A": radial.distances.tolist(),
        "g": {name: g.tolist() for name, g in radial.functions.items()},
        "coordination_number": {n: c.tolist() for n, c in radial.coordination.items()},
        "half_of_smallest_height_A": radial.limit,
        "frames": radial.frames,
    }


def _diffusion_record(entry: Diffusion, interval: float) -> dict[str, Any]:
    return {
        "element": entry.element,
        "coefficient_A2_per_ps": entry.coefficient,
        "error_A2_per_ps": entry.error,
        "exponent": entry.exponent,
        "fitted_lags_ps": entry.window,
        "remark": entry.remark,
        "lag_ps": (np.arange(len(entry.displacement)) * interval).tolist(),
        "mean_square_displacement_A2": entry.displacement.sum(axis=1).tolist(),
        "mean_square_displacement_xyz_A2": entry.displacement.tolist(),
    }


def _spectrum_record(found: Spectrum | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "frequency_THz": found.frequencies.tolist(),
        "density_of_states_per_THz": {n: s.tolist() for n, s in found.states.items()},
        "resolution_THz": found.resolution,
        "lag_ps": found.lags.tolist(),
        "velocity_autocorrelation": found.correlation.tolist(),
    }
