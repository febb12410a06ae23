"""Common interface of all integrators."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.units import fs
from jaxtyping import Float

from equipot.md.integrators.particles import Particles
from equipot.md.velocities import remove_drift

Arrays = Mapping[str, Float[np.ndarray, "..."]]


class Integrator(ABC):
    """Propagation of a structure, one step at a time.

    Args:
        atoms: Structure with a calculator and momenta.
        timestep: Timestep in fs.
        degrees_of_freedom: Number of thermal degrees of freedom, which defines the
            temperature.
    """

    keeps_momentum = True
    """Whether momenta of rigid motions are conserved and thus not thermal."""
    rescales = False
    """Whether all momenta are rescaled, conserved ones included. Rounding errors of the
    conserved momenta then grow at the expense of the thermal ones (flying ice cube)
    unless `remove_conserved_momenta` is called regularly."""
    changes_cell = False
    """Whether the cell changes."""
    conserves = True
    """Whether `conserved` is constant; set to false if a ramp does work."""

    def __init__(self, atoms: Atoms, timestep: float, degrees_of_freedom: int) -> None:
        self.particles = Particles(atoms)
        self.timestep = timestep
        self.dt = timestep * fs
        """Timestep in Å sqrt(u/eV)."""
        self.degrees_of_freedom = degrees_of_freedom

    @property
    def atoms(self) -> Atoms:
        """The structure, in its current state."""
        return self.particles.atoms

    @abstractmethod
    def step(self) -> None:
        """Run one step."""

    def conserved(self) -> float | None:
        """Quantity in eV that exact dynamics conserves; None if there is none."""
        return None

    def set_target(self, temperature: float, pressure: float) -> None:
        """Set the targets of the next step.

        Args:
            temperature: Temperature in K, for a thermostat.
            pressure: Pressure in eV/Å^3, for a barostat.

        Raises:
            TypeError: If the integrator has no thermostat.
        """
        raise TypeError(f"{type(self).__name__} has no target: it has no thermostat")

    def state(self) -> dict[str, Float[np.ndarray, "..."]]:
        """Copies of all variables besides positions, momenta and cell, by name."""
        return {}

    def restore(self, state: Arrays) -> None:
        """Restore all variables.

        Args:
            state: Return value of `state`.

        Raises:
            ValueError: If there is a variable that the integrator does not have.
        """
        if state:
            raise ValueError(f"{type(self).__name__} has no variables {sorted(state)}")

    def remove_conserved_momenta(self) -> None:
        """Set conserved momenta to zero if a thermostat rescales them."""
        if self.rescales:
            remove_drift(self.atoms)

    def total_energy(self) -> float:
        """Potential and kinetic energy in eV."""
        particles = self.particles
        return particles.potential_energy() + 0.5 * particles.twice_kinetic()
