"""Factory of initial velocities and integrators from a configuration."""

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
from equipot.md.integrators import (
    Bussi,
    FullBarostat,
    Integrator,
    IsotropicBarostat,
    Langevin,
    NoseHooverChain,
    VelocityVerlet,
    WeakCoupling,
)
from equipot.md.velocities import (
    conserved_momenta,
    degrees_of_freedom,
    draw_velocities,
    drift_energy,
    movable,
    remove_drift,
)
from equipot.units import GPA_PER_EV_PER_A3

MAX_DRIFT_SHARE = 1e-4
"""Largest share of the kinetic energy in conserved rigid motions under a thermostat
that rescales velocities."""
MIN_SHOWN_DRIFT_K = 1e-3
"""Smallest temperature in K of a removed drift that is reported."""


def start_velocities(
    atoms: Atoms, config: VelocitiesConfig, temperature: float, rng: np.random.Generator
) -> str:
    """Set the initial momenta of the atoms.

    Args:
        atoms: Structure; its momenta are changed in place.
        config: Source of the velocities.
        temperature: Temperature of the run in K, used if `config` sets none.
        rng: Generator of random velocities.

    Returns:
        Description of the source, as a phrase.

    Raises:
        ValueError: If velocities of the file are requested and it has none.
    """
    wanted = temperature if config.temperature is None else config.temperature
    if config.source == "file" and not atoms.has("momenta"):
        raise ValueError(
            "velocities.source is 'file', but the structure file has no momenta; set "
            "it to maxwell_boltzmann, or use a file with momenta"
        )
    moving = atoms.has("momenta") and bool(atoms.get_momenta().any())
    if config.source == "file" or (
        config.source == "auto" and config.temperature is None and moving
    ):
        atoms.set_momenta(atoms.get_momenta())  # sets those of fixed atoms to zero
        origin = "of the structure file"
    else:
        draw_velocities(atoms, wanted, rng)
        origin = f"Maxwell-Boltzmann distribution at {wanted:g} K"
    if not config.remove_drift:
        return origin
    drift = 2 * drift_energy(atoms) / (max(conserved_momenta(atoms), 1) * kB)
    remove_drift(atoms)
    if moving and origin.startswith("of") and drift > MIN_SHOWN_DRIFT_K:
        return f"{origin}, minus a drift of {drift:.4g} K"
    return origin


def check_drift(atoms: Atoms, ensemble: EnsembleConfig) -> None:
    """Refuse a thermostat that would rescale conserved momenta.

    Args:
        atoms: Structure with initial momenta.
        ensemble: Ensemble of the run.

    Raises:
        ValueError: If the thermostat rescales velocities and conserved momenta are not
            zero.
    """
    if isinstance(ensemble, NVEConfig | LangevinConfig):
        return
    _check_freedom(degrees_of_freedom(atoms, drift_removed=True), ensemble.name)
    kinetic, drift = float(atoms.get_kinetic_energy()), drift_energy(atoms)
    if drift <= MAX_DRIFT_SHARE * kinetic:
        return
    raise ValueError(
        f"{100 * drift / kinetic:.3g} % of the kinetic energy is translation or "
        f"rotation of the structure as a whole, which {ensemble.name} would rescale as "
        "if it were thermal: the temperature of the atoms would differ from that of "
        "the thermostat; set velocities.remove_drift=true, or choose nve or langevin"
    )


def build_integrator(
    atoms: Atoms, config: MDConfig, rng: np.random.Generator
) -> Integrator:
    """Build the integrator of the configured ensemble.

    Args:
        atoms: Structure with calculator and momenta.
        config: Ensemble, temperature and timestep.
        rng: Generator of the thermostat noise.

    Returns:
        The integrator in its initial state. With a ramp it has no conserved quantity,
        since the ramp does work on the thermostat chain.

    Raises:
        ValueError: If the ensemble is not possible for these atoms.
    """
    integrator = _integrator(atoms, config, rng)
    if config.ramp is not None and not isinstance(config.ensemble, BussiConfig):
        integrator.conserves = False
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
            return Langevin(
                *common, temperature=temperature, friction=ensemble.friction, rng=rng
            )
        case BussiConfig():
            _check_motion(atoms)
            return Bussi(*common, temperature=temperature, taut=ensemble.taut, rng=rng)
        case NoseHooverChainConfig():
            return NoseHooverChain(
                *common,
                temperature=temperature,
                taut=ensemble.taut,
                chain=ensemble.chain,
            )
        case NPTConfig():
            isotropic = ensemble.cell == "isotropic"
            return (IsotropicBarostat if isotropic else FullBarostat)(
                *common,
                temperature=temperature,
                pressure=ensemble.pressure / GPA_PER_EV_PER_A3,
                taut=ensemble.taut,
                taup=ensemble.taup,
                chain=ensemble.chain,
            )
        case NPTBerendsenConfig():
            _check_motion(atoms)
            return WeakCoupling(
                *common,
                temperature=temperature,
                pressure=ensemble.pressure / GPA_PER_EV_PER_A3,
                taut=ensemble.taut,
                taup=ensemble.taup,
                compressibility=ensemble.compressibility * GPA_PER_EV_PER_A3,
            )
        case _:
            return VelocityVerlet(*common)


def _check_freedom(degrees_of_freedom: int, ensemble: str) -> None:
    if degrees_of_freedom == 0:
        raise ValueError(
            f"the structure has no thermal degrees of freedom in {ensemble}: only the "
            "structure as a whole can move, and that motion is conserved; replicate "
            "the structure, or choose langevin"
        )


def _check_periodicity(atoms: Atoms, ensemble: str) -> None:
    if not ensemble.startswith("npt"):
        return
    if not atoms.pbc.all():
        raise ValueError(
            f"ensemble {ensemble} needs a 3D-periodic structure, got "
            f"pbc={atoms.pbc.tolist()}; choose langevin, bussi or nose_hoover_chain"
        )
    if not movable(atoms).all():
        raise ValueError(
            f"ensemble {ensemble} changes the cell, which would move fixed atoms; "
            "choose langevin, bussi or nose_hoover_chain, or let all atoms move "
            "(fixed.file=false ignores constraints of the file)"
        )


def _check_motion(atoms: Atoms) -> None:
    if atoms.get_kinetic_energy() <= 0:
        raise ValueError(
            "this thermostat rescales velocities, but all atoms are at rest; set "
            "velocities.temperature, or choose langevin"
        )
