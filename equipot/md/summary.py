"""Summary of a finished run."""

from dataclasses import asdict, dataclass

from equipot.config.md import MDConfig
from equipot.md.alarms import MIN_DRIFT_TIME_PS
from equipot.md.thermodynamics import RunStatistics
from equipot.units import FS_PER_PS

SECONDS_PER_DAY = 86_400
FS_PER_NS = 1e6
PS_PER_NS = 1000
MIN_DRIFT_SIGNIFICANCE = 2.0
"""Smallest significant drift of the conserved quantity, in standard errors."""


@dataclass(frozen=True)
class MDSummary:
    """Averages over all rows of the log, and speed of the current process."""

    steps: int
    time_ps: float
    num_atoms: int
    ensemble: str
    mean_temperature_K: float | None
    temperature_deviation_K: float | None
    mean_pressure_GPa: float | None
    mean_volume_A3: float | None
    drift_meV_per_atom_per_ns: float | None
    """Slope of the conserved quantity; None if the ensemble has none or the run is
    shorter than 1 ps."""
    drift_error_meV_per_atom_per_ns: float | None
    """Standard error of the slope; in short runs a drift is within fluctuations."""
    steps_per_second: float | None
    """None if this process ran no step."""
    ns_per_day: float | None
    steps_beyond_domain: int | None = None
    """Number of steps with extrapolation events; None if not checked."""
    stopped: str | None = None
    """Reason for an early end; None if the run is complete."""
    drift_note: str | None = None
    """Reason why the drift is missing or not significant."""
    mean_energy_spread_meV_per_atom: float | None = None
    """Standard deviation over a committee, averaged over the log; None without one."""
    mean_max_force_spread_eV_per_A: float | None = None
    """Mean over the log of the largest force spread of a row."""
    largest_force_spread_eV_per_A: float | None = None
    """Largest force spread of all rows."""
    largest_force_spread_step: int | None = None
    """Step of `largest_force_spread_eV_per_A`."""

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
            f"mean energy spread {self.mean_energy_spread_meV_per_atom:.3g} meV/atom, "
            f"mean of the largest force spread "
            f"{self.mean_max_force_spread_eV_per_A:.3g} eV/Å, maximum "
            f"{self.largest_force_spread_eV_per_A:.3g} eV/Å at step "
            f"{self.largest_force_spread_step}"
        )

    def _domain(self) -> str | None:
        if self.steps_beyond_domain is None:
            return None
        if not self.steps_beyond_domain:
            return "no extrapolation events"
        return (
            f"extrapolated at {self.steps_beyond_domain} steps, see extrapolation.csv"
        )

    def as_dict(self) -> dict[str, int | float | str | None]:
        """All fields as JSON values."""
        return asdict(self)


def summarize(
    course: RunStatistics,
    steps: int,
    config: MDConfig,
    *,
    steps_per_second: float | None,
    checks_domain: bool,
    stopped: str | None,
) -> MDSummary:
    """Summary of a run from the sums over its log.

    Args:
        course: Sums over all rows of the log.
        steps: Steps made since the start of the run.
        config: Configuration of the run.
        steps_per_second: Speed of this process; None if it made no step.
        checks_domain: Whether the calculator reports extrapolation events.
        stopped: Why the run ended early; None if it did not.
    """
    time_ps = steps * config.timestep / FS_PER_PS
    long_enough = time_ps >= MIN_DRIFT_TIME_PS - 1e-9
    drift = course.drift if long_enough else None
    largest = course.sums.get("largest_force_spread_step")
    return MDSummary(
        steps=steps,
        time_ps=time_ps,
        num_atoms=course.num_atoms,
        ensemble=config.ensemble.name,
        mean_temperature_K=course.mean("temperature"),
        temperature_deviation_K=course.temperature_deviation,
        mean_pressure_GPa=course.mean("pressure"),
        mean_volume_A3=course.mean("volume"),
        drift_meV_per_atom_per_ns=_per_ns(drift),
        drift_error_meV_per_atom_per_ns=_per_ns(
            course.drift_error if long_enough else None
        ),
        drift_note=_drift_note(course, time_ps) if course.conserves else None,
        mean_energy_spread_meV_per_atom=course.mean("energy_spread"),
        mean_max_force_spread_eV_per_A=course.mean("force_spread"),
        largest_force_spread_eV_per_A=course.sums.get("largest_force_spread"),
        largest_force_spread_step=None if largest is None else int(largest),
        steps_per_second=steps_per_second,
        ns_per_day=None
        if steps_per_second is None
        else ns_per_day(steps_per_second, config.timestep),
        steps_beyond_domain=course.extrapolation_events if checks_domain else None,
        stopped=stopped,
    )


def ns_per_day(steps_per_second: float, timestep: float) -> float:
    """Simulated time in ns per day of computing.

    Args:
        steps_per_second: Number of steps per second.
        timestep: Timestep in fs.
    """
    return steps_per_second * timestep / FS_PER_NS * SECONDS_PER_DAY


def _number(value: float | None, unit: str, digits: int = 5) -> str | None:
    return None if value is None else f"{value:.{digits}g} {unit}"


def _pair(mean: float | None, deviation: float | None, unit: str) -> str | None:
    if mean is None:
        return None
    return f"{mean:.5g}{'' if deviation is None else f' ± {deviation:.3g}'} {unit}"


def _drift_note(course: RunStatistics, time_ps: float) -> str | None:
    """Reason why the drift is missing or not significant, or None."""
    if time_ps < MIN_DRIFT_TIME_PS - 1e-9:
        return (
            f"not determined: the run is {time_ps:g} ps long, expected at least "
            f"{MIN_DRIFT_TIME_PS:g} ps"
        )
    drift, error = course.drift, course.drift_error
    if drift is None or error is None:
        return "not determined: the log has fewer than three rows"
    if abs(drift) < MIN_DRIFT_SIGNIFICANCE * error:
        return "not significantly different from zero"
    return None


def _per_ns(rate_per_ps: float | None) -> float | None:
    return None if rate_per_ps is None else rate_per_ps * PS_PER_NS
