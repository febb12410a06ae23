"""NVT by a Nose-Hoover chain."""

from typing import final

import numpy as np
from ase import Atoms
from ase.units import fs, kB

from equipot.md.integrators.chain import Chain
from equipot.md.integrators.interface import Arrays, Integrator
from equipot.md.integrators.verlet import verlet_step


@final
class NoseHooverChain(Integrator):
    """Nose-Hoover chain thermostat.

    Args:
        atoms: Structure with a calculator and momenta.
        timestep: Timestep in fs.
        degrees_of_freedom: Number of thermal degrees of freedom.
        temperature: Temperature in K.
        taut: Period of the thermostat in fs.
        chain: Number of thermostats in the chain.

    Source:
        G. Martyna, M. Klein and M. Tuckerman, J. Chem. Phys. 97, 2635 (1992).
    """

    rescales = True

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        degrees_of_freedom: int,
        *,
        temperature: float,
        taut: float,
        chain: int,
    ) -> None:
        super().__init__(atoms, timestep, degrees_of_freedom)
        freedom = float(degrees_of_freedom)
        self._chain = Chain(freedom, kB * temperature, taut * fs, chain)

    def set_target(self, temperature: float, pressure: float) -> None:
        """Set the temperature in K."""
        self._chain.warm(kB * temperature)

    def step(self) -> None:
        """Run one step."""
        self._couple()
        verlet_step(self.particles, self.dt)
        self._couple()

    def conserved(self) -> float:
        """Energy of particles and thermostats in eV."""
        return self.total_energy() + self._chain.energy()

    def state(self) -> dict[str, np.ndarray]:
        """Positions and momenta of the thermostats."""
        return {"thermostat": self._chain.state()}

    def restore(self, state: Arrays) -> None:
        """Restore the thermostats."""
        self._chain.restore(state["thermostat"])

    def _couple(self) -> None:
        """Half a step of the thermostats."""
        particles = self.particles
        momenta = particles.momenta
        momenta *= self._chain.advance(particles.twice_kinetic(), self.dt / 2)
