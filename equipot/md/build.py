"""From a configuration to atoms and an integrator: the factory of this package."""

import numpy as np
from ase import Atoms

from equipot.config.md import (
    BussiConfig,
    LangevinConfig,
    MDConfig,
    NoseHooverChainConfig,
    NPTBerendsenConfig,
    NPTConfig,
    StructureConfig,
    VelocitiesConfig,
)
from equipot.data.frames import read_frame
from equipot.data.geometry import check_geometry
from equipot.md import integrators
from equipot.md.integrators import Integrator
from equipot.md.velocities import degrees_of_freedom, draw_velocities, remove_drift
from equipot.units import GPA_PER_EV_PER_A3


def read_structure(config: StructureConfig) -> Atoms:
    """Read and replicate the atoms that a run starts from.

    Args:
        config: File, frame and copies.

    Returns:
        Atoms with their momenta, and with nothing else of the file: labels of one
        frame would be wrong on every later one.

    Raises:
        ValueError: If the file is missing or broken, has no such frame, holds atoms
            that make no sense, or is to be repeated along a direction without a period.
    """
    atoms = read_frame(config.file, config.index)
    if atoms is None:
        raise ValueError(
            f"{config.file} has no frame {config.index}; choose another structure.index"
        )
    check_geometry(atoms, f"{config.file}#{config.index}")
    for axis, copies in enumerate(config.replicate):
        if copies > 1 and not atoms.pbc[axis]:
            raise ValueError(
                f"structure.replicate is {list(config.replicate)}, but lattice "
                f"direction {'abc'[axis]} of {config.file} is not periodic"
            )
    bare = Atoms(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=atoms.cell,
        pbc=atoms.pbc,
        masses=atoms.arrays.get("masses"),
        constraint=atoms.constraints,
    )
    if atoms.has("momenta"):
        bare.set_momenta(atoms.get_momenta(), apply_constraint=False)
    return bare.repeat(config.replicate)


def start_velocities(
    atoms: Atoms, config: VelocitiesConfig, temperature: float, rng: np.random.Generator
) -> None:
    """Give the atoms their first momenta.

    Args:
        atoms: Changed in place.
        config: Where velocities come from.
        temperature: Of the run in K, used where `config` leaves it open.
        rng: Source of random velocities.

    Raises:
        ValueError: If velocities of the file are asked for and it has none.
    """
    if config.source == "maxwell_boltzmann":
        wanted = config.temperature
        draw_velocities(atoms, temperature if wanted is None else wanted, rng)
    elif not atoms.has("momenta"):
        raise ValueError(
            "velocities.source is 'file', but the structure file has no momenta; use "
            "maxwell_boltzmann, or a file that holds them"
        )
    if config.remove_drift:
        remove_drift(atoms)


def build_integrator(
    atoms: Atoms, config: MDConfig, rng: np.random.Generator
) -> Integrator:
    """Integrator of the ensemble that a configuration names.

    Args:
        atoms: With calculator and momenta.
        config: Ensemble, temperature, timestep.
        rng: Source of thermostat noise.

    Returns:
        The integrator at its start.

    Raises:
        ValueError: If the ensemble cannot be had for these atoms.
    """
    ensemble, temperature = config.ensemble, config.temperature
    _check_periodicity(atoms, ensemble.name)
    noisy = isinstance(ensemble, LangevinConfig)
    dof = degrees_of_freedom(
        atoms, drift_removed=config.velocities.remove_drift and not noisy
    )
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


def _check_periodicity(atoms: Atoms, ensemble: str) -> None:
    if ensemble.startswith("npt") and not atoms.pbc.all():
        raise ValueError(
            f"ensemble {ensemble} needs three periodic directions, the structure has "
            f"pbc={atoms.pbc.tolist()}; choose langevin, bussi or nose_hoover_chain"
        )


def _check_motion(atoms: Atoms) -> None:
    if atoms.get_kinetic_energy() <= 0:
        raise ValueError(
            "this thermostat rescales velocities, but all atoms are at rest; set "
            "velocities.temperature, or choose langevin"
        )
