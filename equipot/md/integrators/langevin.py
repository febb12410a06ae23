"""NVT by Langevin dynamics."""

from typing import final

import numpy as np
from ase import Atoms
from ase.units import fs, kB

from equipot.md.integrators.interface import Integrator


@final
class Langevin(Integrator):
    """Langevin dynamics; the noise also acts on the center of mass.

    Args:
        atoms: Structure with a calculator and momenta.
        timestep: Timestep in fs.
        degrees_of_freedom: Number of thermal degrees of freedom.
        temperature: Temperature in K.
        friction: Friction coefficient in 1/fs.
        rng: Generator of the noise.

    Source:
        E. Vanden-Eijnden and G. Ciccotti, Chem. Phys. Lett. 429, 310 (2006), eq. 23.
    """

    keeps_momentum = False

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        degrees_of_freedom: int,
        *,
        temperature: float,
        friction: float,
        rng: np.random.Generator,
    ) -> None:
        super().__init__(atoms, timestep, degrees_of_freedom)
        self._friction = friction / fs
        self._rng = rng
        self.set_target(temperature, 0.0)

    def set_target(self, temperature: float, pressure: float) -> None:
        """Set the temperature in K."""
        dt, friction, masses = self.dt, self._friction, self.particles.masses
        sigma = np.sqrt(2 * kB * temperature * friction / masses)
        self._pull = (dt / 2 - dt**2 * friction / 8) / masses
        self._drag = dt * friction / 2 - dt**2 * friction**2 / 8
        self._jolt = np.sqrt(dt) * sigma / 2 - dt**1.5 * friction * sigma / 8
        self._shift = dt**1.5 * sigma / (2 * np.sqrt(3))

    def step(self) -> None:
        """Run one step."""
        particles = self.particles
        shape = particles.positions.shape
        xi, eta = (self._rng.standard_normal(size=shape) for _ in range(2))
        shift = particles.at_rest(self._shift * eta)
        kick = self._jolt * xi
        kick -= 0.5 * self._friction * shift
        particles.at_rest(kick)

        velocities = particles.momenta / particles.masses
        velocities += self._change(velocities, kick)
        positions = particles.positions
        positions += self.dt * velocities + shift
        velocities += self._change(velocities, kick)
        particles.momenta[:] = particles.masses * velocities

    def _change(self, velocities: np.ndarray, kick: np.ndarray) -> np.ndarray:
        """Change of the velocities in half a step."""
        change: np.ndarray = self._pull * self.particles.forces()
        change -= self._drag * velocities
        change += kick
        return change
