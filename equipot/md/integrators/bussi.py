"""NVT by stochastic velocity rescaling."""

import math
from typing import final

import numpy as np
from ase import Atoms
from ase.units import fs, kB

from equipot.md.integrators.interface import Arrays, Integrator
from equipot.md.integrators.verlet import verlet_step


@final
class Bussi(Integrator):
    """Stochastic velocity rescaling (Bussi-Donadio-Parrinello thermostat).

    Args:
        atoms: Structure with a calculator and nonzero momenta.
        timestep: Timestep in fs.
        degrees_of_freedom: Number of thermal degrees of freedom.
        temperature: Temperature in K.
        taut: Relaxation time in fs.
        rng: Generator of the noise.

    Source:
        G. Bussi, D. Donadio and M. Parrinello, J. Chem. Phys. 126, 014101 (2007),
        eq. A7.
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
        rng: np.random.Generator,
    ) -> None:
        super().__init__(atoms, timestep, degrees_of_freedom)
        self._rng = rng
        self._memory = math.exp(-self.dt / (taut * fs))
        self._heat = 0.0
        self.set_target(temperature, 0.0)

    def set_target(self, temperature: float, pressure: float) -> None:
        """Set the temperature in K."""
        self._kinetic = 0.5 * kB * temperature * self.degrees_of_freedom

    def step(self) -> None:
        """Run one step."""
        kinetic = 0.5 * self.particles.twice_kinetic()
        squared = self._squared_factor(kinetic)
        momenta = self.particles.momenta
        momenta *= math.sqrt(squared)
        self._heat += (squared - 1.0) * kinetic
        verlet_step(self.particles, self.dt)

    def conserved(self) -> float:
        """Total energy without the heat of the thermostat, in eV."""
        return self.total_energy() - self._heat

    def state(self) -> dict[str, np.ndarray]:
        """Heat from the thermostat in eV."""
        return {"heat": np.array(self._heat)}

    def restore(self, state: Arrays) -> None:
        """Restore the heat from the thermostat."""
        self._heat = float(state["heat"])

    def _squared_factor(self, kinetic: float) -> float:
        """Ratio of the kinetic energy after and before the thermostat."""
        count = self.degrees_of_freedom
        one = float(self._rng.standard_normal())
        others = 2.0 * float(self._rng.standard_gamma(0.5 * (count - 1)))
        fresh = (1 - self._memory) * self._kinetic / (kinetic * count)
        mixed = 2 * one * math.sqrt(self._memory * fresh)
        return self._memory + fresh * (others + one**2) + mixed
