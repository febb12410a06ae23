"""Energies, temperature and pressure of one moment, and their course over time."""

from dataclasses import asdict, dataclass, field

import numpy as np
from ase import Atoms
from ase.units import fs, kB

from equipot.md.integrators import Integrator
from equipot.units import GPA_PER_EV_PER_A3, MEV_PER_EV

COLUMNS = (
    "step",
    "time_ps",
    "potential_energy_eV",
    "kinetic_energy_eV",
    "temperature_K",
    "conserved_eV",
    "pressure_GPa",
    "volume_A3",
)


@dataclass(frozen=True)
class Thermodynamics:
    """A row of the log."""

    step: int
    time_ps: float
    potential_energy_eV: float
    kinetic_energy_eV: float
    temperature_K: float
    conserved_eV: float | None
    """What exact dynamics would keep; None if the ensemble has no such quantity."""
    pressure_GPa: float | None
    """Virial and kinetic; None without three periodic directions."""
    volume_A3: float | None
    """None without three periodic directions."""

    def row(self) -> dict[str, int | float | None]:
        """Values by column."""
        return asdict(self)


def measure(integrator: Integrator, step: int) -> Thermodynamics:
    """Thermodynamics of the present moment.

    Args:
        integrator: Its atoms carry a calculator.
        step: Steps made since the start of the run.

    Returns:
        All that the log holds.
    """
    dynamics = integrator.dynamics
    atoms: Atoms = dynamics.atoms
    pressure = volume = None
    if atoms.pbc.all():
        stress = atoms.get_stress(include_ideal_gas=True)
        pressure = -float(stress[:3].mean()) * GPA_PER_EV_PER_A3
        volume = float(atoms.get_volume())
    return Thermodynamics(
        step=step,
        time_ps=step * dynamics.dt / fs / 1000,
        potential_energy_eV=float(atoms.get_potential_energy()),
        kinetic_energy_eV=float(atoms.get_kinetic_energy()),
        temperature_K=temperature(atoms, integrator.degrees_of_freedom),
        conserved_eV=integrator.conserved() if integrator.conserved else None,
        pressure_GPa=pressure,
        volume_A3=volume,
    )


def temperature(atoms: Atoms, degrees_of_freedom: int) -> float:
    """Kinetic temperature in K.

    Args:
        atoms: With momenta.
        degrees_of_freedom: Momenta that carry heat.
    """
    return float(2 * atoms.get_kinetic_energy() / (degrees_of_freedom * kB))


@dataclass
class Course:
    """Running sums over the rows of a log; they survive a restart to the bit."""

    num_atoms: int
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, row: Thermodynamics) -> None:
        """Take a row into account."""
        self._add("rows", 1.0)
        self._add("temperature", row.temperature_K)
        self._add("temperature^2", row.temperature_K**2)
        if row.pressure_GPa is not None and row.volume_A3 is not None:
            self._add("pressure", row.pressure_GPa)
            self._add("volume", row.volume_A3)
        if row.conserved_eV is not None:
            energy = row.conserved_eV - self.sums.setdefault("first", row.conserved_eV)
            self._add("time", row.time_ps)
            self._add("time^2", row.time_ps**2)
            self._add("energy", energy)
            self._add("energy^2", energy**2)
            self._add("time*energy", row.time_ps * energy)

    def add_excursion(self) -> None:
        """Count a step beyond the training set."""
        self._add("excursions", 1.0)

    @property
    def excursions(self) -> int:
        """Steps beyond the training set."""
        return int(self.sums.get("excursions", 0))

    def mean(self, name: str) -> float | None:
        """Average of ``temperature``, ``pressure`` or ``volume``; None if unknown."""
        return self.sums[name] / self.sums["rows"] if name in self.sums else None

    @property
    def temperature_deviation(self) -> float | None:
        """Standard deviation of the temperature in K."""
        if (mean := self.mean("temperature")) is None:
            return None
        square = self.sums["temperature^2"] / self.sums["rows"]
        return float(np.sqrt(max(square - mean**2, 0.0)))

    @property
    def drift(self) -> float | None:
        """Slope of the conserved quantity by least squares, in meV/atom/ps."""
        s = self.sums
        if "time" not in s:
            return None
        spread = s["rows"] * s["time^2"] - s["time"] ** 2
        if spread <= 0:
            return None
        slope = (s["rows"] * s["time*energy"] - s["time"] * s["energy"]) / spread
        return slope * MEV_PER_EV / self.num_atoms

    @property
    def drift_error(self) -> float | None:
        """Standard error of the drift, in meV/atom/ps, as if rows were independent.

        They are not, so that a drift within a few errors is not told from none.
        """
        s, slope = self.sums, self.drift
        if slope is None or s["rows"] < 3:
            return None
        n = s["rows"]
        spread = s["time^2"] - s["time"] ** 2 / n
        variance = s["energy^2"] - s["energy"] ** 2 / n
        explained = (slope * self.num_atoms / MEV_PER_EV) ** 2 * spread
        error = np.sqrt(max(variance - explained, 0.0) / (n - 2) / spread)
        return float(error * MEV_PER_EV / self.num_atoms)

    def _add(self, name: str, value: float) -> None:
        self.sums[name] = self.sums.get(name, 0.0) + value
