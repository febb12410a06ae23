"""NPT by Martyna-Tobias-Klein barostats with Nose-Hoover chains."""

from abc import abstractmethod
from typing import final

import numpy as np
from ase import Atoms
from ase.units import fs, kB
from jaxtyping import Float
from scipy.special import exprel

from equipot.md.integrators.chain import Chain
from equipot.md.integrators.interface import Arrays, Integrator

CELL_WEIGHT = 9.0
"""Mass of the first thermostat of the cell in units of the others."""


class Barostat(Integrator):
    """Barostat of Martyna, Tobias and Klein.

    The cell has a momentum p with a mass W: a number for fluctuations of the volume, a
    symmetric matrix for those of the shape as well.

    Args:
        atoms: 3D-periodic structure with a calculator and momenta.
        timestep: Timestep in fs.
        degrees_of_freedom: Number of thermal degrees of freedom.
        temperature: Temperature in K.
        pressure: Pressure in eV/Å^3.
        taut: Period of the thermostat in fs.
        taup: Period of the barostat in fs.
        chain: Number of thermostats in the chains of the atoms and of the cell.

    Source:
        G. Martyna, D. Tobias and M. Klein, J. Chem. Phys. 101, 4177 (1994).
    """

    rescales = True
    changes_cell = True
    freedom: float
    """Number of degrees of freedom of the cell."""

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        degrees_of_freedom: int,
        *,
        temperature: float,
        pressure: float,
        taut: float,
        taup: float,
        chain: int,
    ) -> None:
        super().__init__(atoms, timestep, degrees_of_freedom)
        energy = kB * temperature
        self.period = taup * fs
        self.pressure = pressure
        self.mass = self._mass(energy)
        self.momentum: Float[np.ndarray, "*matrix"] = self._no_momentum()
        freedom = float(degrees_of_freedom)
        self._atom_chain = Chain(freedom, energy, taut * fs, chain)
        self._cell_chain = Chain(self.freedom, energy, self.period, chain, CELL_WEIGHT)

    @abstractmethod
    def _mass(self, thermal_energy: float) -> float:
        """Mass W of the cell in eV Å^2 u/eV."""

    @abstractmethod
    def _no_momentum(self) -> Float[np.ndarray, "*matrix"]:
        """Momentum of a cell at rest."""

    @abstractmethod
    def _force(self) -> Float[np.ndarray, "*matrix"]:
        """Force on the cell in eV."""

    @abstractmethod
    def _kick(self, time: float) -> None:
        """Change the momenta by forces and by the motion of the cell."""

    @abstractmethod
    def _drift(self, time: float) -> None:
        """Move particles and cell."""

    def set_target(self, temperature: float, pressure: float) -> None:
        """Set the temperature in K and the pressure in eV/Å^3."""
        energy = kB * temperature
        self._cell_chain.warm(energy)
        self.momentum = self._atom_chain.warm(energy) * self.momentum
        self.mass, self.pressure = self._mass(energy), pressure

    def step(self) -> None:
        """Run one step."""
        half = 0.5 * self.dt
        self._couple_cell(half)
        self._couple(half)
        self.momentum = self.momentum + half * self._force()
        self._kick(half)
        self._drift(self.dt)
        self._kick(half)
        self.momentum = self.momentum + half * self._force()
        self._couple(half)
        self._couple_cell(half)

    def conserved(self) -> float:
        """Energy of particles, cell and thermostats in eV."""
        work = self.pressure * self.particles.volume()
        chains = self._atom_chain.energy() + self._cell_chain.energy()
        return self.total_energy() + chains + 0.5 * self._twice_kinetic() + work

    def state(self) -> dict[str, np.ndarray]:
        """Momentum of the cell, and the thermostats."""
        return {
            "cell_momentum": np.array(self.momentum),
            "atom_thermostat": self._atom_chain.state(),
            "cell_thermostat": self._cell_chain.state(),
        }

    def restore(self, state: Arrays) -> None:
        """Restore the momentum of the cell, and the thermostats."""
        self.momentum = np.array(state["cell_momentum"])
        self._atom_chain.restore(state["atom_thermostat"])
        self._cell_chain.restore(state["cell_thermostat"])

    def _twice_kinetic(self) -> float:
        """Twice the kinetic energy of the cell in eV."""
        return float(np.square(self.momentum).sum()) / self.mass

    def _couple(self, time: float) -> None:
        momenta = self.particles.momenta
        momenta *= self._atom_chain.advance(self.particles.twice_kinetic(), time)

    def _couple_cell(self, time: float) -> None:
        factor = self._cell_chain.advance(self._twice_kinetic(), time)
        self.momentum = factor * self.momentum


@final
class IsotropicBarostat(Barostat):
    """Barostat that changes the volume only."""

    freedom = 1.0

    def _mass(self, thermal_energy: float) -> float:
        return (self.degrees_of_freedom + 3) * thermal_energy * self.period**2

    def _no_momentum(self) -> Float[np.ndarray, ""]:
        return np.zeros(())

    def _force(self) -> Float[np.ndarray, ""]:
        particles = self.particles
        volume, kinetic = particles.volume(), particles.twice_kinetic()
        pressure = kinetic / (3 * volume) - particles.stress().trace() / 3
        excess = 3 * volume * (pressure - self.pressure)
        return np.array(excess + 3 * kinetic / self.degrees_of_freedom)

    def _kick(self, time: float) -> None:
        rate = (1 + 3 / self.degrees_of_freedom) * float(self.momentum) / self.mass
        momenta = self.particles.momenta
        forces = self.particles.forces()
        momenta *= np.exp(-rate * time)
        momenta += time * exprel(-rate * time) * forces

    def _drift(self, time: float) -> None:
        strain = time * float(self.momentum) / self.mass
        particles = self.particles
        positions, cell = particles.positions, particles.cell
        positions *= np.exp(strain)
        positions += time * exprel(strain) * particles.momenta / particles.masses
        cell *= np.exp(strain)


@final
class FullBarostat(Barostat):
    """Barostat that changes lengths and angles of the cell."""

    freedom = 9.0

    def _mass(self, thermal_energy: float) -> float:
        return (self.degrees_of_freedom / 3 + 1) * thermal_energy * self.period**2

    def _no_momentum(self) -> Float[np.ndarray, "3 3"]:
        return np.zeros((3, 3))

    def _force(self) -> Float[np.ndarray, "3 3"]:
        particles = self.particles
        volume, momenta = particles.volume(), particles.momenta
        kinetic = momenta.T @ (momenta / particles.masses)
        excess = kinetic - volume * (particles.stress() + self.pressure * np.eye(3))
        return excess + kinetic.trace() / self.degrees_of_freedom * np.eye(3)

    def _kick(self, time: float) -> None:
        rates, axes = np.linalg.eigh(self.momentum / self.mass)
        rates = rates + rates.sum() / self.degrees_of_freedom
        momenta = self.particles.momenta
        forces = self.particles.forces()
        along = momenta @ axes * np.exp(-rates * time)
        along += time * exprel(-rates * time) * (forces @ axes)
        momenta[:] = along @ axes.T

    def _drift(self, time: float) -> None:
        rates, axes = np.linalg.eigh(self.momentum / self.mass)
        particles = self.particles
        growth = np.exp(rates * time)
        velocities = particles.momenta / particles.masses
        along = particles.positions @ axes * growth
        along += time * exprel(rates * time) * (velocities @ axes)
        particles.positions[:] = along @ axes.T
        particles.cell[:] = particles.cell @ axes * growth @ axes.T
