"""Whether a short trajectory keeps its energy as well as its time step allows."""

from dataclasses import dataclass

import ase.units
import numpy as np
from ase import Atoms
from jaxtyping import Float64

from equipot.agreement import Difference
from equipot.models.energy_model import EnergyModel
from equipot.verify.physics import graph_of
from equipot.verify.quantities import given
from equipot.verify.result import Check

TIME_STEPS = (0.5, 0.25)
"""fs."""
DURATION = 10.0
"""fs."""
TEMPERATURE = 300.0
"""K."""
LAW = 2.0
"""Exponent of the time step by which the error of velocity Verlet falls."""
LAW_TOLERANCE = 0.4
SMALLEST_DRIFT = 1e-9
"""eV per atom; below it is rounding."""


@dataclass(frozen=True)
class Drift:
    """What the total energy does in one trajectory, at two time steps."""

    atoms: int
    """Atoms that move."""
    times: tuple[Float64[np.ndarray, " _steps"], ...]
    """In fs, for each of `TIME_STEPS`."""
    errors: tuple[Float64[np.ndarray, " _steps"], ...]
    """Total energy in eV, less that at the start."""

    @property
    def largest(self) -> tuple[float, ...]:
        """Largest error in eV for each time step; NaN if there is one."""
        return tuple(float(np.abs(e).max()) for e in self.errors)

    @property
    def exponent(self) -> float:
        """Power of the time step that the error is proportional to."""
        coarse, fine = self.largest
        if max(coarse, fine) < SMALLEST_DRIFT * self.atoms:
            return LAW
        return float(np.log2(max(coarse, 1e-300) / max(fine, 1e-300)))


def measure_drift(model: EnergyModel, atoms: Atoms, *, seed: int = 0) -> Drift:
    """Run the same trajectory at two time steps.

    Args:
        model: In float64.
        atoms: Where it starts.
        seed: Of the velocities.
    """
    rng = np.random.default_rng(seed)
    spread = np.sqrt(ase.units.kB * TEMPERATURE / atoms.get_masses()[:, None])
    velocities = rng.normal(size=(len(atoms), 3)) * spread
    runs = [_energies(model, atoms, velocities, step) for step in TIME_STEPS]
    return Drift(
        atoms=len(atoms),
        times=tuple(
            step * np.arange(len(run))
            for step, run in zip(TIME_STEPS, runs, strict=True)
        ),
        errors=tuple(run - run[0] for run in runs),
    )


def drift_check(drift: Drift) -> Check:
    """Whether the error of the energy falls with the square of the time step."""
    coarse, fine = drift.largest
    return Check(
        quantity="exponent",
        unit="",
        against="dt^2 law of dynamics",
        dtype="float64",
        difference=Difference(abs(drift.exponent - LAW), 1.0, LAW_TOLERANCE),
        reason=(
            f"absolute; velocity Verlet over {DURATION:g} fs at {TIME_STEPS[0]:g} and "
            f"{TIME_STEPS[1]:g} fs, whose error is quadratic for short steps: "
            f"{coarse:.2e} and {fine:.2e} eV"
        ),
    )


def _energies(
    model: EnergyModel,
    atoms: Atoms,
    velocities: Float64[np.ndarray, "atoms 3"],
    time_step: float,
) -> Float64[np.ndarray, " steps"]:
    """Total energies in eV of a trajectory by velocity Verlet, time steps in fs."""
    masses = atoms.get_masses()[:, None]
    step = time_step * ase.units.fs
    moving = atoms.copy()
    v = velocities.copy()
    energies = []
    energy, forces = _predict(model, moving)
    for _ in range(round(DURATION / time_step)):
        energies.append(energy + float((masses * v**2).sum()) / 2)
        v += step / 2 * forces / masses
        moving.positions += step * v
        energy, forces = _predict(model, moving)
        v += step / 2 * forces / masses
    energies.append(energy + float((masses * v**2).sum()) / 2)
    return np.array(energies)


def _predict(
    model: EnergyModel, atoms: Atoms
) -> tuple[float, Float64[np.ndarray, "atoms 3"]]:
    """Energy in eV and forces in eV/Å, without a stress."""
    found = model(graph_of(model, [atoms]), {"energy", "forces"}, create_graph=False)
    forces = given(found.forces, "forces").double().cpu().numpy()
    return float(found.energy.sum()), forces
