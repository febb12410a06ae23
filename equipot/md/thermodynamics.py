"""Energies, temperature and pressure of one step, and their statistics over a run."""

from dataclasses import asdict, dataclass, field

import numpy as np
from ase import Atoms
from ase.units import kB

from equipot.md.integrators import Integrator
from equipot.md.velocities import drift_energy
from equipot.units import FS_PER_PS, GPA_PER_EV_PER_A3, MEV_PER_EV

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
"""Columns of every log."""
SPREAD_COLUMNS = ("energy_spread_meV_per_atom", "max_force_spread_eV_per_A")
"""Additional columns of the log of a committee."""


@dataclass(frozen=True)
class Thermodynamics:
    """Thermodynamic quantities at one step: a row of the log."""

    step: int
    time_ps: float
    potential_energy_eV: float
    kinetic_energy_eV: float
    temperature_K: float
    conserved_eV: float | None
    """Quantity that exact dynamics conserves; None if the ensemble has none."""
    pressure_GPa: float | None
    """Virial plus kinetic part; None unless the structure is 3D-periodic."""
    volume_A3: float | None
    """None unless the structure is 3D-periodic."""
    energy_spread_meV_per_atom: float | None = None
    """Standard deviation over the members of a committee; None for one potential."""
    max_force_spread_eV_per_A: float | None = None
    """Largest standard deviation of the force on an atom over the members."""
    target_temperature_K: float | None = None
    """Target temperature at this step of a ramp; None without a ramp."""
    target_pressure_GPa: float | None = None
    """Target pressure at this step of a ramp; None without a ramp."""

    def row(self) -> dict[str, int | float | None]:
        """Values by column name."""
        return asdict(self)


def measure(integrator: Integrator, step: int) -> Thermodynamics:
    """Measure the thermodynamic quantities of the current step.

    Args:
        integrator: Integrator whose atoms have a calculator.
        step: Number of steps since the start of the run.

    Returns:
        One row of the log.
    """
    atoms = integrator.atoms
    drift = drift_energy(atoms) if integrator.keeps_momentum else 0.0
    pressure = volume = None
    if atoms.pbc.all():
        volume = float(atoms.get_volume())
        heat = integrator.particles.twice_kinetic() - 2 * drift
        pressure = heat / (3 * volume) - float(atoms.get_stress()[:3].mean())
        pressure *= GPA_PER_EV_PER_A3
    return Thermodynamics(
        step=step,
        time_ps=step * integrator.timestep / FS_PER_PS,
        potential_energy_eV=float(atoms.get_potential_energy()),
        kinetic_energy_eV=float(atoms.get_kinetic_energy()),
        temperature_K=temperature(atoms, integrator.degrees_of_freedom, drift),
        conserved_eV=integrator.conserved() if integrator.conserves else None,
        pressure_GPa=pressure,
        volume_A3=volume,
        **_spread(atoms),
    )


def temperature(atoms: Atoms, degrees_of_freedom: int, drift: float = 0.0) -> float:
    """Kinetic temperature in K.

    Args:
        atoms: Structure with momenta.
        degrees_of_freedom: Number of thermal degrees of freedom.
        drift: Kinetic energy in eV of rigid motions, which is subtracted.
    """
    heat = atoms.get_kinetic_energy() - drift
    return float(2 * heat / (degrees_of_freedom * kB))


def _spread(atoms: Atoms) -> dict[str, float]:
    """Spread of the members of a committee; empty for other calculators."""
    results = atoms.calc.results
    if "energy_spread" not in results or "forces_spread" not in results:
        return {}
    energy = float(results["energy_spread"]) * MEV_PER_EV / len(atoms)
    largest = float(np.max(results["forces_spread"]))
    return dict(zip(SPREAD_COLUMNS, (energy, largest), strict=True))


@dataclass
class RunStatistics:
    """Running sums over the rows of a log, restored bit for bit at a restart."""

    num_atoms: int
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, row: Thermodynamics) -> None:
        """Add a row."""
        self._add("rows", 1.0)
        self._add("temperature", row.temperature_K)
        self._add("temperature^2", row.temperature_K**2)
        if row.pressure_GPa is not None and row.volume_A3 is not None:
            self._add("pressure", row.pressure_GPa)
            self._add("volume", row.volume_A3)
        if row.max_force_spread_eV_per_A is not None:
            spread = row.max_force_spread_eV_per_A
            self._add("energy_spread", row.energy_spread_meV_per_atom or 0.0)
            self._add("force_spread", spread)
            largest = self.sums.get("largest_force_spread", -1.0)
            if spread > largest:
                self.sums["largest_force_spread"] = spread
                self.sums["largest_force_spread_step"] = float(row.step)
        if row.conserved_eV is not None:
            energy = row.conserved_eV - self.sums.setdefault("first", row.conserved_eV)
            self._add("time", row.time_ps)
            self._add("time^2", row.time_ps**2)
            self._add("energy", energy)
            self._add("energy^2", energy**2)
            self._add("time*energy", row.time_ps * energy)

    def add_extrapolation(self) -> None:
        """Count a step with an extrapolation event."""
        self._add("extrapolation_events", 1.0)

    @property
    def extrapolation_events(self) -> int:
        """Number of steps with an extrapolation event."""
        return int(self.sums.get("extrapolation_events", 0))

    def mean(self, name: str) -> float | None:
        """Mean of a quantity such as ``volume`` over all rows; None if not recorded."""
        return self.sums[name] / self.sums["rows"] if name in self.sums else None

    @property
    def conserves(self) -> bool:
        """Whether the rows contain a conserved quantity."""
        return "time" in self.sums

    @property
    def temperature_deviation(self) -> float | None:
        """Standard deviation of the temperature in K."""
        if (mean := self.mean("temperature")) is None:
            return None
        square = self.sums["temperature^2"] / self.sums["rows"]
        return float(np.sqrt(max(square - mean**2, 0.0)))

    @property
    def drift(self) -> float | None:
        """Least-squares slope of the conserved quantity in meV/atom/ps."""
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
        """Standard error of the drift in meV/atom/ps, assuming independent rows.

        Rows are correlated, so a drift of a few standard errors is not significant.
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
