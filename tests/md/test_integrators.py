"""Integrators against those of ASE: the same schemes, with the same random numbers."""

import numpy as np
import pytest
from ase.constraints import FixAtoms
from ase.md import bussi, langevin, nose_hoover_chain, nptberendsen, verlet
from ase.units import fs

from equipot.md.integrators import (
    Bussi,
    FullBarostat,
    IsotropicBarostat,
    Langevin,
    NoseHooverChain,
    VelocityVerlet,
    WeakCoupling,
)
from equipot.md.velocities import draw_velocities
from tests.md.soft_spheres import fluid

TIMESTEP, TEMPERATURE, PRESSURE, TAUT, TAUP = 4.0, 300.0, 0.01, 80.0, 300.0
FREEDOM = 24
"""ASE counts three degrees of freedom for each of the eight atoms."""
HEAT = {"temperature": TEMPERATURE, "taut": TAUT}
BATHS = {**HEAT, "pressure": PRESSURE, "taup": TAUP}
ASE_HEAT = {"temperature_K": TEMPERATURE, "tdamp": TAUT * fs, "tchain": 4}
ASE_BATHS = {**ASE_HEAT, "pressure_au": PRESSURE, "pdamp": TAUP * fs, "pchain": 4}


def _rng():
    return np.random.default_rng(5)


CASES = {
    "nve": (VelocityVerlet, verlet.VelocityVerlet),
    "langevin": (
        lambda *a: Langevin(*a, temperature=TEMPERATURE, friction=0.02, rng=_rng()),
        lambda *a: langevin.Langevin(
            *a, temperature_K=TEMPERATURE, friction=0.02 / fs, fixcm=False, rng=_rng()
        ),
    ),
    "bussi": (
        lambda *a: Bussi(*a, **HEAT, rng=_rng()),
        lambda *a: bussi.Bussi(*a, TEMPERATURE, TAUT * fs, rng=_rng()),
    ),
    "nose_hoover_chain": (
        lambda *a: NoseHooverChain(*a, **HEAT, chain=4),
        lambda *a: nose_hoover_chain.NoseHooverChainNVT(*a, **ASE_HEAT),
    ),
    "npt_isotropic": (
        lambda *a: IsotropicBarostat(*a, **BATHS, chain=4),
        lambda *a: nose_hoover_chain.IsotropicMTKNPT(*a, **ASE_BATHS),
    ),
    "npt_full": (
        lambda *a: FullBarostat(*a, **BATHS, chain=4),
        lambda *a: nose_hoover_chain.MTKNPT(*a, **ASE_BATHS),
    ),
    "npt_berendsen": (
        lambda *a: WeakCoupling(*a, **BATHS, compressibility=2.0),
        lambda *a: nptberendsen.NPTBerendsen(
            *a,
            temperature_K=TEMPERATURE,
            pressure_au=PRESSURE,
            taut=TAUT * fs,
            taup=TAUP * fs,
            compressibility_au=2.0,
            fixcm=False,
        ),
    ),
}


def _moving(fixed=()):
    atoms = fluid()
    atoms.set_constraint(FixAtoms(list(fixed)) if fixed else None)
    draw_velocities(atoms, 400.0, np.random.default_rng(1))
    return atoms


WITH_FIXED_ATOMS = [(name, (1, 6)) for name in ("nve", "langevin", "bussi")]
"""ASE's chain also moves the momenta of fixed atoms."""


@pytest.mark.parametrize(
    ("name", "fixed"), [*((name, ()) for name in CASES), *WITH_FIXED_ATOMS]
)
def test_trajectories_are_those_of_ase(name, fixed):
    ours, theirs = _moving(fixed), _moving(fixed)
    make, make_reference = CASES[name]
    integrator = make(ours, TIMESTEP, FREEDOM - 3 * len(fixed))
    reference = make_reference(theirs, TIMESTEP * fs)

    for _ in range(40):
        integrator.step()
        reference.step()

    for found, expected in (
        (ours.positions, theirs.positions),
        (ours.get_momenta(), theirs.get_momenta()),
        (ours.cell.array, theirs.cell.array),
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10)
    assert np.abs(ours.positions - _moving().positions).max() > 0.1
    if hasattr(reference, "get_conserved_energy"):
        assert integrator.conserved() == pytest.approx(reference.get_conserved_energy())


def test_velocity_verlet_is_that_of_ase_bit_for_bit():
    ours, theirs = _moving(), _moving()
    integrator = VelocityVerlet(ours, TIMESTEP, FREEDOM)
    reference = verlet.VelocityVerlet(theirs, TIMESTEP * fs)

    for _ in range(20):
        integrator.step()
        reference.step()

    np.testing.assert_array_equal(ours.positions, theirs.positions)
    np.testing.assert_array_equal(ours.get_momenta(), theirs.get_momenta())


@pytest.mark.parametrize("name", CASES)
def test_a_step_evaluates_forces_once(name, monkeypatch):
    atoms = _moving()
    integrator = CASES[name][0](atoms, TIMESTEP, FREEDOM)
    integrator.step()
    evaluations, calculate = [], atoms.calc.calculate
    monkeypatch.setattr(
        atoms.calc, "calculate", lambda *a: evaluations.append(a) or calculate(*a)
    )

    for _ in range(5):
        integrator.step()

    assert len(evaluations) == (10 if name == "npt_berendsen" else 5)
