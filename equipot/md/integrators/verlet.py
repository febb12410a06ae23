"""NVE by velocity Verlet."""

from typing import final

from equipot.md.integrators.interface import Integrator
from equipot.md.integrators.particles import Particles


@final
class VelocityVerlet(Integrator):
    """Velocity Verlet, for the NVE ensemble.

    Source:
        W. Swope et al., J. Chem. Phys. 76, 637 (1982).
    """

    def step(self) -> None:
        """Run one step."""
        verlet_step(self.particles, self.dt)

    def conserved(self) -> float:
        """Total energy in eV."""
        return self.total_energy()


def verlet_step(particles: Particles, dt: float) -> None:
    """One step of velocity Verlet.

    Args:
        particles: Particles to move.
        dt: Timestep in Å sqrt(u/eV).
    """
    particles.kick(particles.forces(), 0.5 * dt)
    particles.drift(dt)
    particles.kick(particles.forces(), 0.5 * dt)
