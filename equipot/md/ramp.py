"""Target temperature and pressure as functions of the step."""

from equipot.config.md import MDConfig, NPTBerendsenConfig, NPTConfig
from equipot.units import GPA_PER_EV_PER_A3


def target_temperature(config: MDConfig, step: int) -> float:
    """Target temperature of a step in K.

    Args:
        config: Configuration of the run.
        step: Step number, from 1; 0 is the initial state.
    """
    ramp = config.ramp
    if ramp is None or ramp.temperature is None:
        return config.temperature
    share = _share(config, step)
    return (1 - share) * config.temperature + share * ramp.temperature


def target_pressure(config: MDConfig, step: int) -> float | None:
    """Target pressure of a step in GPa; None without a barostat.

    Args:
        config: Configuration of the run.
        step: Step number, from 1; 0 is the initial state.
    """
    if not isinstance(config.ensemble, NPTConfig | NPTBerendsenConfig):
        return None
    ramp, first = config.ramp, config.ensemble.pressure
    if ramp is None or ramp.pressure is None:
        return first
    share = _share(config, step)
    return (1 - share) * first + share * ramp.pressure


def targets(config: MDConfig, step: int) -> tuple[float, float]:
    """Target temperature in K and pressure in eV/Å^3, which is 0 without a barostat."""
    pressure = target_pressure(config, step) or 0.0
    return target_temperature(config, step), pressure / GPA_PER_EV_PER_A3


def describe_ramp(config: MDConfig) -> str | None:
    """Description of the ramp as a phrase; None without a ramp."""
    ramp = config.ramp
    if ramp is None:
        return None
    last = ramp.start + ramp.steps
    parts = []
    if ramp.temperature is not None:
        parts.append(f"{config.temperature:g} to {ramp.temperature:g} K")
    if ramp.pressure is not None:
        parts.append(f"{target_pressure(config, 0):g} to {ramp.pressure:g} GPa")
    text = f"ramp: {', '.join(parts)} from step {ramp.start} to {last}"
    if last > config.steps:
        text += f"; the run ends earlier, at step {config.steps}"
    return text


def _share(config: MDConfig, step: int) -> float:
    """Completed share of the ramp, from 0 to 1."""
    if config.ramp is None:
        return 0.0
    return min(max((step - config.ramp.start) / config.ramp.steps, 0.0), 1.0)
