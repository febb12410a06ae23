"""Integrators of ASE with the state and the conserved quantity that MD needs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import final

import numpy as np
from ase import Atoms
from ase.md.bussi import Bussi
from ase.md.langevin import Langevin
from ase.md.md import MolecularDynamics
from ase.md.nose_hoover_chain import (
    MTKNPT,
    IsotropicMTKBarostat,
    IsotropicMTKNPT,
    MTKBarostat,
    NoseHooverChainNVT,
    NoseHooverChainThermostat,
)
from ase.md.nptberendsen import NPTBerendsen
from ase.md.verlet import VelocityVerlet
from ase.units import fs, kB
from jaxtyping import Float

from equipot.md.velocities import remove_drift

THERMOSTAT = ("_q", "_p", "_thermostat._eta", "_thermostat._p_eta")
BAROSTAT = (*THERMOSTAT, "_barostat._xi", "_barostat._p_xi")


@dataclass(frozen=True)
class Integrator:
    """An integrator of ASE with its internal state and conserved quantity."""

    dynamics: MolecularDynamics
    """Dynamics object of ASE."""
    degrees_of_freedom: int
    """Number of thermal degrees of freedom, which defines the temperature."""
    conserved: Callable[[], float] | None = None
    """Quantity in eV that exact dynamics conserves; None if there is none."""
    variables: tuple[str, ...] = ()
    """Attributes of `dynamics` that change from step to step."""
    keeps_momentum: bool = True
    """Whether momenta of rigid motions are conserved and thus not thermal."""
    rescales: bool = False
    """Whether all momenta are rescaled, conserved ones included. Rounding errors of the
    conserved momenta then grow at the expense of the thermal ones (flying ice cube)
    unless `remove_conserved_momenta` is called regularly."""
    set_target: Callable[[float, float], None] | None = None
    """Sets the target temperature in K and pressure in eV/Å^3 of the next step."""

    def step(self) -> None:
        """Run one step."""
        self.dynamics.step()  # type: ignore[attr-defined]  # defined by all subclasses
        self.dynamics.nsteps += 1

    def remove_conserved_momenta(self) -> None:
        """Set conserved momenta to zero if the thermostat rescales them."""
        if not self.rescales:
            return
        atoms = self.dynamics.atoms
        remove_drift(atoms)
        if hasattr(self.dynamics, "_p"):
            self.dynamics._p = atoms.get_momenta()

    def state(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Copies of all internal variables by name."""
        return {
            name: np.array(_get(self.dynamics, name), dtype=np.float64)
            for name in self.variables
        }

    def restore(self, state: dict[str, Float[np.ndarray, "..."]]) -> None:
        """Restore all internal variables.

        Args:
            state: Return value of `state`.
        """
        for name in self.variables:
            *parents, attribute = name.split(".")
            value = state[name]
            setattr(
                _get(self.dynamics, ".".join(parents)),
                attribute,
                value.copy() if value.ndim else float(value),
            )


def nve(atoms: Atoms, timestep: float, degrees_of_freedom: int) -> Integrator:
    """Velocity Verlet.

    Args:
        atoms: Structure with a calculator and momenta.
        timestep: Timestep in fs.
        degrees_of_freedom: Number of thermal degrees of freedom.

    Returns:
        Integrator of the NVE ensemble.
    """
    return Integrator(
        VelocityVerlet(atoms, timestep * fs),
        degrees_of_freedom,
        conserved=lambda: float(atoms.get_total_energy()),
    )


def langevin(
    atoms: Atoms,
    timestep: float,
    degrees_of_freedom: int,
    *,
    temperature: float,
    friction: float,
    rng: np.random.Generator,
) -> Integrator:
    """Langevin dynamics; the noise also acts on the center of mass.

    Args:
        atoms: As for `nve`.
        timestep: Timestep in fs.
        degrees_of_freedom: As for `nve`.
        temperature: Temperature in K.
        friction: Friction coefficient in 1/fs.
        rng: Generator of the noise.

    Returns:
        Integrator of the NVT ensemble.

    Source:
        E. Vanden-Eijnden and G. Ciccotti, Chem. Phys. Lett. 429, 310 (2006).
    """
    dynamics = Langevin(
        atoms,
        timestep * fs,
        temperature_K=temperature,
        friction=friction / fs,
        fixcm=False,
        rng=rng,
    )
    return Integrator(
        dynamics,
        degrees_of_freedom,
        keeps_momentum=False,
        set_target=lambda temperature, _: dynamics.set_temperature(
            temperature_K=temperature
        ),
    )


def bussi(
    atoms: Atoms,
    timestep: float,
    degrees_of_freedom: int,
    *,
    temperature: float,
    taut: float,
    rng: np.random.Generator,
) -> Integrator:
    """Stochastic velocity rescaling (Bussi-Donadio-Parrinello thermostat).

    Args:
        atoms: As for `nve`.
        timestep: Timestep in fs.
        degrees_of_freedom: As for `nve`.
        temperature: Temperature in K.
        taut: Relaxation time in fs.
        rng: Generator of the noise.

    Returns:
        Integrator of the NVT ensemble.

    Source:
        G. Bussi, D. Donadio and M. Parrinello, J. Chem. Phys. 126, 014101 (2007).
    """
    dynamics = Bussi(
        atoms, timestep * fs, temperature_K=temperature, taut=taut * fs, rng=rng
    )
    # ASE counts 3N even if the total momentum is zero, which overheats by N/(N-1).
    dynamics.ndof = degrees_of_freedom

    def set_target(temperature: float, _: float) -> None:
        dynamics.temp = temperature * kB
        dynamics.target_kinetic_energy = 0.5 * dynamics.temp * degrees_of_freedom

    set_target(temperature, 0.0)
    return Integrator(
        dynamics,
        degrees_of_freedom,
        conserved=lambda: float(atoms.get_total_energy() - dynamics.transferred_energy),
        variables=("transferred_energy",),
        rescales=True,
        set_target=set_target,
    )


def nose_hoover_chain(
    atoms: Atoms,
    timestep: float,
    degrees_of_freedom: int,
    *,
    temperature: float,
    taut: float,
    chain: int,
) -> Integrator:
    """Nose-Hoover chain thermostat.

    Args:
        atoms: As for `nve`.
        timestep: Timestep in fs.
        degrees_of_freedom: As for `nve`.
        temperature: Temperature in K.
        taut: Period of the thermostat in fs.
        chain: Number of thermostats in the chain.

    Returns:
        Integrator of the NVT ensemble.

    Source:
        G. Martyna, M. Klein and M. Tuckerman, J. Chem. Phys. 97, 2635 (1992).
    """
    dynamics = _NoseHooverChain(
        atoms,
        timestep * fs,
        temperature_K=temperature,
        tdamp=taut * fs,
        tchain=chain,
    )
    dynamics._thermostat = _thermostat(
        dynamics, degrees_of_freedom, temperature, taut, chain
    )

    def set_target(temperature: float, _: float) -> None:
        _warm_thermostat(
            dynamics,
            _thermostat(dynamics, degrees_of_freedom, temperature, taut, chain),
        )

    return Integrator(
        dynamics,
        degrees_of_freedom,
        dynamics.get_conserved_energy,
        THERMOSTAT,
        rescales=True,
        set_target=set_target,
    )


def npt(
    atoms: Atoms,
    timestep: float,
    degrees_of_freedom: int,
    *,
    temperature: float,
    pressure: float,
    taut: float,
    taup: float,
    chain: int,
    isotropic: bool,
) -> Integrator:
    """Martyna-Tobias-Klein barostat with Nose-Hoover chains.

    Args:
        atoms: As for `nve`.
        timestep: Timestep in fs.
        degrees_of_freedom: As for `nve`.
        temperature: Temperature in K.
        pressure: Pressure in eV/Å^3.
        taut: Period of the thermostat in fs.
        taup: Period of the barostat in fs.
        chain: Number of thermostats in the chains of the atoms and of the cell.
        isotropic: Whether the shape of the cell is kept.

    Returns:
        Integrator of the NPT ensemble.

    Source:
        G. Martyna, D. Tobias and M. Klein, J. Chem. Phys. 101, 4177 (1994).
    """
    dynamics_class, barostat_class, cell_variables = (
        (IsotropicMTKNPT, IsotropicMTKBarostat, ISOTROPIC_CELL)
        if isotropic
        else (MTKNPT, MTKBarostat, FULL_CELL)
    )
    dynamics = dynamics_class(
        atoms,
        timestep * fs,
        temperature_K=temperature,
        pressure_au=pressure,
        tdamp=taut * fs,
        pdamp=taup * fs,
        tchain=chain,
        pchain=chain,
    )
    dynamics._num_atoms_global = degrees_of_freedom / 3

    def barostat(temperature: float) -> IsotropicMTKBarostat | MTKBarostat:
        return barostat_class(
            num_atoms_global=degrees_of_freedom / 3,  # type: ignore[arg-type]
            temperature_K=temperature,
            pdamp=taup * fs,
            pchain=chain,
        )

    dynamics._thermostat = _thermostat(
        dynamics, degrees_of_freedom, temperature, taut, chain
    )
    dynamics._barostat = barostat(temperature)

    def set_target(temperature: float, pressure: float) -> None:
        growth = _warm_thermostat(
            dynamics,
            _thermostat(dynamics, degrees_of_freedom, temperature, taut, chain),
        )
        old, new = dynamics._barostat, barostat(temperature)
        new._xi, new._p_xi = old._xi, growth * old._p_xi
        dynamics._barostat = new
        momentum = getattr(dynamics, cell_variables[1])
        setattr(dynamics, cell_variables[1], growth * momentum)
        dynamics._temperature_K, dynamics._kT = temperature, kB * temperature
        dynamics._pressure_au = pressure

    return Integrator(
        dynamics,
        degrees_of_freedom,
        dynamics.get_conserved_energy,
        (*BAROSTAT, *cell_variables),
        rescales=True,
        set_target=set_target,
    )


ISOTROPIC_CELL = ("_eps", "_p_eps", "_cell0", "_volume0")
FULL_CELL = ("_h", "_p_g")


def npt_berendsen(
    atoms: Atoms,
    timestep: float,
    degrees_of_freedom: int,
    *,
    temperature: float,
    pressure: float,
    taut: float,
    taup: float,
    compressibility: float,
) -> Integrator:
    """Berendsen thermostat and barostat (weak coupling), for equilibration only.

    The trajectory does not sample an ensemble.

    Args:
        atoms: As for `nve`.
        timestep: Timestep in fs.
        degrees_of_freedom: As for `nve`.
        temperature: Temperature in K.
        pressure: Pressure in eV/Å^3.
        taut: Relaxation time of the temperature in fs.
        taup: Relaxation time of the pressure in fs.
        compressibility: Isothermal compressibility in Å^3/eV.

    Returns:
        Integrator for equilibration.

    Source:
        H. Berendsen et al., J. Chem. Phys. 81, 3684 (1984).
    """
    dynamics = NPTBerendsen(
        atoms,
        timestep * fs,
        # ASE compares with 2K / 3N kB.
        temperature_K=temperature * degrees_of_freedom / (3 * len(atoms)),
        pressure_au=pressure,
        taut=taut * fs,
        taup=taup * fs,
        compressibility_au=compressibility,
        fixcm=False,
    )

    def set_target(temperature: float, pressure: float) -> None:
        share = degrees_of_freedom / (3 * len(atoms))
        dynamics.set_temperature(temperature_K=temperature * share)
        dynamics.pressure = pressure

    return Integrator(
        dynamics, degrees_of_freedom, rescales=True, set_target=set_target
    )


@final
class _NoseHooverChain(NoseHooverChainNVT):
    """As in ASE, with zero forces on fixed atoms."""

    def _get_forces(self) -> np.ndarray:
        self._update_atoms()
        forces: np.ndarray = self.atoms.get_forces()
        return forces


def _warm_thermostat(
    dynamics: NoseHooverChainNVT | IsotropicMTKNPT | MTKNPT,
    new: NoseHooverChainThermostat,
) -> float:
    """Change the target temperature of a thermostat chain.

    Thermostat masses are proportional to the temperature, and thermostat momenta are
    scaled so that their kinetic energies are, too.

    Returns:
        Scale factor of the thermostat momenta.
    """
    old = dynamics._thermostat
    growth = float(np.sqrt(new._kT / old._kT))
    new._eta, new._p_eta = old._eta, growth * old._p_eta
    dynamics._thermostat = new
    return growth


def _thermostat(
    dynamics: MolecularDynamics,
    degrees_of_freedom: int,
    temperature: float,
    taut: float,
    chain: int,
) -> NoseHooverChainThermostat:
    """Thermostat chain of the thermal degrees of freedom; ASE always counts 3N."""
    return NoseHooverChainThermostat(
        num_atoms_global=degrees_of_freedom / 3,  # type: ignore[arg-type]
        masses=dynamics.masses,
        temperature_K=temperature,
        tdamp=taut * fs,
        tchain=chain,
    )


def _get(root: object, path: str) -> object:
    return reduce(getattr, path.split(".") if path else [], root)
