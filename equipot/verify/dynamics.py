"""Energy error of a short NVE trajectory at two time steps."""

from dataclasses import dataclass

import ase.units
import numpy as np
from ase import Atoms
from jaxtyping import Float64

from equipot.models.energy_model import EnergyModel
from equipot.tensor_products.agreement import Difference
from equipot.verify.physics import graph_of
from equipot.verify.quantities import given
from equipot.verify.result import Check

TIME_STEP = 0.5
"""fs; the second run has half of it."""
NUM_STEPS = 20
"""Of the longer time step."""
MAX_RESOLVED_ERROR = 5e-3
"""eV per atom; a larger error is no longer that of a short time step."""
REFINEMENTS = 3
"""Times that the time step is divided by four until the error is resolved, as where
atoms start on a steep slope."""
TEMPERATURE = 300.0
"""K."""
VERLET_ORDER = 2.0
"""Exponent of the time step by which the error of velocity Verlet falls."""
ORDER_TOLERANCE = 0.4
SMALLEST_DRIFT = 1e-9
"""eV per atom; below it is rounding."""


@dataclass(frozen=True)
class Drift:
    """What the total energy does in one trajectory, at two time steps."""

    atoms: int
    """Atoms that move."""
    time_steps: tuple[float, float]
    """In fs; the second is half of the first."""
    times: tuple[Float64[np.ndarray, " _steps"], ...]
    """In fs, for each time step."""
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
            return VERLET_ORDER
        return float(np.log2(max(coarse, 1e-300) / max(fine, 1e-300)))


def measure_drift(model: EnergyModel, atoms: Atoms, *, seed: int = 0) -> Drift:
    """Run the same trajectory at two time steps that are short enough.

    Args:
        model: In float64.
        atoms: Where it starts.
        seed: Of the velocities.
    """
    rng = np.random.default_rng(seed)
    spread = np.sqrt(ase.units.kB * TEMPERATURE / atoms.get_masses()[:, None])
    velocities = rng.normal(size=(len(atoms), 3)) * spread
    for refinement in range(REFINEMENTS + 1):
        drift = _drift(model, atoms, velocities, TIME_STEP / 4**refinement)
        if drift.largest[0] <= MAX_RESOLVED_ERROR * len(atoms):
            break
    return drift


def drift_check(drift: Drift) -> Check:
    """Whether the error of the energy falls with the square of the time step."""
    coarse, fine = drift.largest
    return Check(
        quantity="exponent",
        unit="",
        name="dt^2 scaling of NVE energy error",
        dtype="float64",
        difference=Difference(abs(drift.exponent - VERLET_ORDER), 1.0, ORDER_TOLERANCE),
        reason=(
            f"absolute difference of the exponent from {VERLET_ORDER:g}; largest error "
            f"of the total energy over {drift.times[0][-1]:g} fs of velocity Verlet: "
            f"{coarse:.2g} eV at {drift.time_steps[0]:g} fs and {fine:.2g} eV at "
            f"{drift.time_steps[1]:g} fs"
        ),
    )


def _drift(
    model: EnergyModel,
    atoms: Atoms,
    velocities: Float64[np.ndarray, "atoms 3"],
    time_step: float,
) -> Drift:
    steps = (time_step, time_step / 2)
    coarse = _energies(model, atoms, velocities, steps[0], NUM_STEPS)
    fine = _energies(model, atoms, velocities, steps[1], 2 * NUM_STEPS)
    return Drift(
        atoms=len(atoms),
        time_steps=steps,
        times=(steps[0] * np.arange(len(coarse)), steps[1] * np.arange(len(fine))),
        errors=(coarse - coarse[0], fine - fine[0]),
    )


def _energies(
    model: EnergyModel,
    atoms: Atoms,
    velocities: Float64[np.ndarray, "atoms 3"],
    time_step: float,
    num_steps: int,
) -> Float64[np.ndarray, " steps"]:
    """Total energies in eV of a trajectory by velocity Verlet, time steps in fs."""
    masses = atoms.get_masses()[:, None]
    step = time_step * ase.units.fs
    moving = atoms.copy()
    v = velocities.copy()
    energies = []
    energy, forces = _predict(model, moving)
    for _ in range(num_steps):
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
