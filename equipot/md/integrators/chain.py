"""Nose-Hoover chains, the thermostats of NVT and NPT."""

import math
from typing import final

import numpy as np
from jaxtyping import Float

SHARES = tuple(weight / (2 - 2 ** (1 / 3)) for weight in (1.0, -(2 ** (1 / 3)), 1.0))
"""Parts of a step of fourth order (H. Yoshida, Phys. Lett. A 150, 262 (1990))."""


@final
class Chain:
    r"""Chain of thermostats, each of which is coupled to the one before.

    The first is coupled to a kinetic energy :math:`K` of f degrees of freedom:
    :math:`\dot p_1 = 2 K - f k T`.

    Args:
        freedom: Number of degrees of freedom f.
        thermal_energy: Thermal energy kT in eV.
        period: Period in Å sqrt(u/eV).
        length: Number of thermostats.
        weight: Mass of the first thermostat in units of the others (default: f).

    Source:
        G. Martyna et al., Mol. Phys. 87, 1117 (1996).
    """

    def __init__(
        self,
        freedom: float,
        thermal_energy: float,
        period: float,
        length: int,
        weight: float | None = None,
    ) -> None:
        self._freedom = freedom
        self._period = period
        self._weights = [freedom if weight is None else weight] + [1.0] * (length - 1)
        self._positions = [0.0] * length
        self._momenta = [0.0] * length
        self._set(thermal_energy)

    def warm(self, thermal_energy: float) -> float:
        """Change the target temperature.

        Masses are proportional to the temperature, and momenta are scaled so that
        their kinetic energies are, too.

        Args:
            thermal_energy: New thermal energy kT in eV.

        Returns:
            Scale factor of the momenta.
        """
        growth = math.sqrt(thermal_energy / self._thermal_energy)
        self._momenta = [growth * p for p in self._momenta]
        self._set(thermal_energy)
        return growth

    def advance(self, twice_kinetic: float, time: float) -> float:
        """Propagate the chain.

        Args:
            twice_kinetic: Twice the kinetic energy in eV of the degrees of freedom.
            time: Duration in Å sqrt(u/eV).

        Returns:
            Factor by which their momenta are to be scaled.
        """
        factor = 1.0
        for share in SHARES:
            factor *= self._advance(twice_kinetic * factor**2, share * time)
        return factor

    def energy(self) -> float:
        """Energy of the chain in eV, which is part of the conserved quantity."""
        first, *others = self._positions
        kinetic = sum(
            0.5 * p**2 / m for p, m in zip(self._momenta, self._masses, strict=True)
        )
        return self._thermal_energy * (self._freedom * first + sum(others)) + kinetic

    def state(self) -> Float[np.ndarray, "2 length"]:
        """Positions and momenta of the thermostats."""
        return np.array([self._positions, self._momenta])

    def restore(self, state: Float[np.ndarray, "2 length"]) -> None:
        """Restore positions and momenta."""
        self._positions, self._momenta = state.tolist()

    def _set(self, thermal_energy: float) -> None:
        self._thermal_energy = thermal_energy
        mass = thermal_energy * self._period**2
        self._masses = [weight * mass for weight in self._weights]

    def _advance(self, twice_kinetic: float, time: float) -> float:
        momenta, masses = self._momenta, self._masses
        for j in reversed(range(len(momenta))):
            self._push(j, twice_kinetic, time)
        for j, (p, mass) in enumerate(zip(momenta, masses, strict=True)):
            self._positions[j] += time * p / mass
        factor = math.exp(-time * momenta[0] / masses[0])
        for j in range(len(momenta)):
            self._push(j, twice_kinetic * factor**2, time)
        return factor

    def _push(self, j: int, twice_kinetic: float, time: float) -> None:
        """Change the momentum of a thermostat over half of a duration."""
        p, m = self._momenta, self._masses
        if j == 0:
            force = twice_kinetic - self._freedom * self._thermal_energy
        else:
            force = p[j - 1] ** 2 / m[j - 1] - self._thermal_energy
        drag = 1.0
        if j < len(p) - 1:
            drag = math.exp(-0.25 * time * p[j + 1] / m[j + 1])
        p[j] = (p[j] * drag + 0.5 * time * force) * drag
