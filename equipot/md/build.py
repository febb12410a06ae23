"""From a configuration to atoms and an integrator: the factory of this package."""

from dataclasses import replace

import numpy as np
from ase import Atoms
from ase.units import kB

from equipot.config.md import (
    BussiConfig,
    EnsembleConfig,
    LangevinConfig,
    MDConfig,
    NoseHooverChainConfig,
    NPTBerendsenConfig,
    NPTConfig,
    NVEConfig,
    VelocitiesConfig,
)
from equipot.md import integrators
from equipot.md.integrators import Integrator
from equipot.md.velocities import (
    conserved_momenta,
    degrees_of_freedom,
    draw_velocities,
    drift_energy,
    movable,
    remove_drift,
)
from equipot.units import GPA_PER_EV_PER_A3

LARGEST_DRIFT = 1e-4
"""Share of the kinetic energy in conserved rigid motions that thermostats tolerate."""
DRIFT_SHOWN = 1e-3
"""Temperature in K of a drift that is worth a word."""


def start_velocities(
    atoms: Atoms, config: VelocitiesConfig, temperature: float, rng: np.random.Generator
) -> str:
    """Give the atoms their first momenta.

    Args:
        atoms: Changed in place.
        config: Where velocities come from.
        temperature: Of the run in K, used where `config` leaves it open.
        rng: Source of random velocities.

    Returns:
        Where they come from, as a sentence.

    Raises:
        ValueError: If velocities of the file are asked for and it has none.
    """
    wanted = temperature if config.temperature is None else config.temperature
    if config.source == "file" and not atoms.has("momenta"):
        raise ValueError(
            "velocities.source is 'file', but the structure file has no momenta; use "
            "maxwell_boltzmann, or a file that holds them"
        )
    moving = atoms.has("momenta") and bool(atoms.get_momenta().any())
    if config.source == "file" or (
        config.source == "auto" and config.temperature is None and moving
    ):
        atoms.set_momenta(atoms.get_momenta())  # without those of fixed atoms
        origin = "from the structure file"
    else:
        draw_velocities(atoms, wanted, rng)
        origin = f"Maxwell-Boltzmann distribution at {wanted:g} K"
    if not config.remove_drift:
        return origin
    drift = 2 * drift_energy(atoms) / (max(conserved_momenta(atoms), 1) * kB)
    remove_drift(atoms)
    if moving and origin.startswith("from") and drift > DRIFT_SHOWN:
        return f"{origin}, without a center-of-mass motion of {drift:.4g} K"
    return origin


def check_drift(atoms: Atoms, ensemble: EnsembleConfig) -> None:
    """Refuse a thermostat that would take the motion of the whole for heat.

    Args:
        atoms: With their first momenta.
        ensemble: Of the run.

    Raises:
        ValueError: If velocities are rescaled and conserved momenta are not zero.
    """
    if isinstance(ensemble, NVEConfig | LangevinConfig):
        return
    _check_freedom(degrees_of_freedom(atoms, drift_removed=True), ensemble.name)
    kinetic, drift = float(atoms.get_kinetic_energy()), drift_energy(atoms)
    if drift <= LARGEST_DRIFT * kinetic:
        return
    raise ValueError(
        f"{100 * drift / kinetic:.3g} % of the kinetic energy is motion or rotation of "
        f"the structure as a whole, which {ensemble.name} would scale together with "
        "the heat: atoms would have another temperature than the thermostat; set "
        "velocities.remove_drift=true, or choose nve or langevin"
    )


def build_integrator(
    atoms: Atoms, config: MDConfig, rng: np.random.Generator
) -> Integrator:
    """Integrator of the ensemble that a configuration names.

    Args:
        atoms: With calculator and momenta.
        config: Ensemble, temperature, timestep.
        rng: Source of thermostat noise.

    Returns:
        The integrator at its start. A ramp does work on chains of thermostats, so that
        their quantity is not conserved then.

    Raises:
        ValueError: If the ensemble cannot be had for these atoms.
    """
    integrator = _integrator(atoms, config, rng)
    if config.ramp is not None and not isinstance(config.ensemble, BussiConfig):
        return replace(integrator, conserved=None)
    return integrator


def _integrator(atoms: Atoms, config: MDConfig, rng: np.random.Generator) -> Integrator:
    ensemble, temperature = config.ensemble, config.temperature
    _check_periodicity(atoms, ensemble.name)
    noisy = isinstance(ensemble, LangevinConfig)
    dof = degrees_of_freedom(atoms, drift_removed=not noisy)
    _check_freedom(dof, ensemble.name)
    common = (atoms, config.timestep, dof)
    match ensemble:
        case LangevinConfig():
            return integrators.langevin(
                *common, temperature=temperature, friction=ensemble.friction, rng=rng
            )
        case BussiConfig():
            _check_motion(atoms)
            return integrators.bussi(
                *common, temperature=temperature, taut=ensemble.taut, rng=rng
            )
        case NoseHooverChainConfig():
            return integrators.nose_hoover_chain(
                *common,
                temperature=temperature,
                taut=ensemble.taut,
                chain=ensemble.chain,
            )
        case NPTConfig():
            return integrators.npt(
                *common,
                temperature=temperature,
                pressure=ensemble.pressure / GPA_PER_EV_PER_A3,
                taut=ensemble.taut,
                taup=ensemble.taup,
                chain=ensemble.chain,
                isotropic=ensemble.cell == "isotropic",
            )
        case NPTBerendsenConfig():
            _check_motion(atoms)
            return integrators.npt_berendsen(
                *common,
                temperature=temperature,
                pressure=ensemble.pressure / GPA_PER_EV_PER_A3,
                taut=ensemble.taut,
                taup=ensemble.taup,
                compressibility=ensemble.compressibility * GPA_PER_EV_PER_A3,
            )
        case _:
            return integrators.nve(*common)


def _check_freedom(degrees_of_freedom: int, ensemble: str) -> None:
    if degrees_of_freedom == 0:
        raise ValueError(
            f"nothing can move in {ensemble} but the structure as a whole, whose "
            "motion is conserved and not a thermal degree of freedom; replicate the "
            "structure, or choose langevin"
        )


def _check_periodicity(atoms: Atoms, ensemble: str) -> None:
    if not ensemble.startswith("npt"):
        return
    if not atoms.pbc.all():
        raise ValueError(
            f"ensemble {ensemble} needs three periodic directions, the structure has "
            f"pbc={atoms.pbc.tolist()}; choose langevin, bussi or nose_hoover_chain"
        )
    if not movable(atoms).all():
        raise ValueError(
            f"ensemble {ensemble} changes the cell, which would move the fixed atoms; "
            "choose langevin, bussi or nose_hoover_chain, or let all atoms move "
            "(fixed.file=false ignores constraints of the file)"
        )


def _check_motion(atoms: Atoms) -> None:
    if atoms.get_kinetic_energy() <= 0:
        raise ValueError(
            "this thermostat rescales velocities, but all atoms are at rest; set "
            "velocities.temperature, or choose langevin"
        )
