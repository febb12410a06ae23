"""Summary of a finished run."""

from dataclasses import asdict, dataclass

SECONDS_PER_DAY = 86_400
FS_PER_NS = 1e6


@dataclass(frozen=True)
class MDSummary:
    """Averages over all rows of the log, and speed of the last process."""

    steps: int
    time_ps: float
    num_atoms: int
    ensemble: str
    mean_temperature_K: float | None
    temperature_deviation_K: float | None
    mean_pressure_GPa: float | None
    mean_volume_A3: float | None
    drift_meV_per_atom_per_ns: float | None
    """Slope of the conserved quantity; None where there is none, or from less than a
    picosecond."""
    drift_error_meV_per_atom_per_ns: float | None
    """Its standard error; short runs cannot tell a drift from fluctuations."""
    steps_per_second: float | None
    """None if this process made no step."""
    ns_per_day: float | None
    steps_beyond_domain: int | None = None
    """Steps at which the potential extrapolated; None if not checked."""
    stopped: str | None = None
    """Why the run ended early."""
    drift_note: str | None = None
    """Why there is no drift, or why it means little."""
    mean_energy_spread_meV_per_atom: float | None = None
    """Between members of a committee, over the rows of the log; None without one."""
    mean_max_force_spread_eV_per_A: float | None = None
    """Largest of each row, averaged."""
    largest_force_spread_eV_per_A: float | None = None
    """Largest of all rows."""
    largest_force_spread_step: int | None = None
    """Where it was."""

    def lines(self) -> list[str]:
        """Aligned lines for a terminal."""
        rows = {
            "steps": f"{self.steps} ({self.time_ps:.3f} ps, {self.num_atoms} atoms)",
            "ensemble": self.ensemble,
            "temperature": self._temperature(),
            "pressure": _number(self.mean_pressure_GPa, "GPa", 3),
            "volume": _number(self.mean_volume_A3, "Å^3"),
            "drift": self._drift(),
            "committee": self._committee(),
            "speed": _number(self.steps_per_second, "steps/s", 3),
            "": _number(self.ns_per_day, "ns/day", 3),
            "domain": self._domain(),
            "stopped": self.stopped,
        }
        return [f"{k:12} {v}" for k, v in rows.items() if v is not None]

    def _temperature(self) -> str | None:
        mean, deviation = self.mean_temperature_K, self.temperature_deviation_K
        if mean is None:
            return None
        fluctuation = "" if deviation is None else f", fluctuation {deviation:.3g} K"
        return f"{mean:.1f} K{fluctuation}"

    def _drift(self) -> str | None:
        drift = _pair(
            self.drift_meV_per_atom_per_ns,
            self.drift_error_meV_per_atom_per_ns,
            "meV/atom/ns",
        )
        if drift is None or self.drift_note is None:
            return drift or self.drift_note
        return f"{drift} ({self.drift_note})"

    def _committee(self) -> str | None:
        if self.mean_max_force_spread_eV_per_A is None:
            return None
        return (
            "standard deviation of the energy "
            f"{self.mean_energy_spread_meV_per_atom:.3g} meV/atom, of the most "
            f"uncertain force {self.mean_max_force_spread_eV_per_A:.3g} eV/Å (means "
            f"over the run), at most {self.largest_force_spread_eV_per_A:.3g} eV/Å at "
            f"step {self.largest_force_spread_step}"
        )

    def _domain(self) -> str | None:
        if self.steps_beyond_domain is None:
            return None
        if not self.steps_beyond_domain:
            return "no extrapolation events"
        return (
            f"extrapolation events in {self.steps_beyond_domain} steps, see "
            "extrapolation.csv"
        )

    def as_dict(self) -> dict[str, int | float | str | None]:
        """JSON values."""
        return asdict(self)


def ns_per_day(steps_per_second: float, timestep: float) -> float:
    """Simulated time per day.

    Args:
        steps_per_second: Speed.
        timestep: In fs.
    """
    return steps_per_second * timestep / FS_PER_NS * SECONDS_PER_DAY


def _number(value: float | None, unit: str, digits: int = 5) -> str | None:
    return None if value is None else f"{value:.{digits}g} {unit}"


def _pair(mean: float | None, deviation: float | None, unit: str) -> str | None:
    if mean is None:
        return None
    return f"{mean:.3g}{'' if deviation is None else f' ± {deviation:.3g}'} {unit}"
