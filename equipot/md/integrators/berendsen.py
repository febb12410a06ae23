"""Weak coupling to a heat bath and a pressure bath."""

from typing import final

import numpy as np
from ase import Atoms
from ase.units import fs, kB

from equipot.md.integrators.interface import Integrator
from equipot.md.integrators.verlet import verlet_step

MAX_CHANGE = 0.1
"""Largest relative change of the momenta in one step."""


@final
class WeakCoupling(Integrator):
    """Berendsen thermostat and barostat, for equilibration only.

    The trajectory does not sample an ensemble. A step has two evaluations, since
    positions change twice.

    Args:
        atoms: 3D-periodic structure with a calculator and nonzero momenta.
        timestep: Timestep in fs.
        degrees_of_freedom: Number of thermal degrees of freedom.
        temperature: Temperature in K.
        pressure: Pressure in eV/Å^3.
        taut: Relaxation time of the temperature in fs.
        taup: Relaxation time of the pressure in fs.
        compressibility: Isothermal compressibility in Å^3/eV.

    Source:
        H. Berendsen et al., J. Chem. Phys. 81, 3684 (1984).
    """

    rescales = True
    changes_cell = True

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
        compressibility: float,
    ) -> None:
        super().__init__(atoms, timestep, degrees_of_freedom)
        self._share = self.dt / (taut * fs)
        self._strain = self.dt / (taup * fs) * compressibility / 3
        self.set_target(temperature, pressure)

    def set_target(self, temperature: float, pressure: float) -> None:
        """Set the temperature in K and the pressure in eV/Å^3."""
        self._twice_kinetic = self.degrees_of_freedom * kB * temperature
        self._pressure = pressure

    def step(self) -> None:
        """Run one step."""
        self._scale_momenta()
        self._scale_cell()
        verlet_step(self.particles, self.dt)

    def _scale_momenta(self) -> None:
        ratio = self._twice_kinetic / self.particles.twice_kinetic()
        factor = np.sqrt(1 + (ratio - 1) * self._share)
        momenta = self.particles.momenta
        momenta *= np.clip(factor, 1 - MAX_CHANGE, 1 + MAX_CHANGE)

    def _scale_cell(self) -> None:
        particles = self.particles
        kinetic = particles.twice_kinetic() / (3 * particles.volume())
        pressure = kinetic - particles.stress().trace() / 3
        factor = 1 - self._strain * (self._pressure - pressure)
        positions, cell = particles.positions, particles.cell
        positions *= factor
        cell *= factor
