"""Energy along a trajectory at constant energy."""

import numpy as np
import pytest
from ase import units
from ase.md.verlet import VelocityVerlet

from equipot.calculators import EquipotCalculator
from tests.potentials import ARCHITECTURES, random_potential

DURATION_FS = 24.0


def total_energies(atoms, potential, timestep_fs):
    """Total energy per atom in eV after every 2 fs."""
    atoms = atoms.copy()
    atoms.calc = EquipotCalculator(potential)
    rng = np.random.default_rng(0)
    atoms.set_velocities(rng.normal(0, 0.02, (len(atoms), 3)))
    dynamics = VelocityVerlet(atoms, timestep_fs * units.fs)
    energies = []

    def record():
        energies.append(atoms.get_total_energy() / len(atoms))

    dynamics.attach(record, interval=round(2 / timestep_fs))
    dynamics.run(round(DURATION_FS / timestep_fs))
    return np.array(energies)


@pytest.mark.parametrize("name", ["lmax2", "zbl"])
@pytest.mark.parametrize("system", ["ethanol", "silica"])
def test_error_of_the_total_energy_is_quadratic_in_the_timestep(
    name, system, request, record_property
):
    """Velocity Verlet conserves a shadow energy that differs by a term in dt^2.

    Forces that were not the gradient of the energy, or that jumped at the cutoff, would
    leave an error that does not shrink with the timestep.
    """
    atoms = request.getfixturevalue(system)
    potential = random_potential(**ARCHITECTURES[name])

    coarse, fine = (total_energies(atoms, potential, dt) for dt in (1.0, 0.5))

    assert np.ptp(coarse) / np.ptp(fine) == pytest.approx(4, rel=0.2)
    slope = np.polyfit(np.linspace(0, DURATION_FS, len(fine)), fine, 1)[0]
    drift = slope * 1e3 * 1e6  # eV/atom/fs to meV/atom/ns
    measured = f"drift {drift:+.3g} meV/atom/ns at 0.5 fs over {DURATION_FS:g} fs"
    record_property("measured", f"NVE, {name}, {system}: {measured}")
