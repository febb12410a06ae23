"""Averages and slopes of a run, from running sums."""

import numpy as np
import pytest

from equipot.md.thermodynamics import RunStatistics, Thermodynamics


def course_of(energies, num_atoms=4):
    course = RunStatistics(num_atoms)
    for n, energy in enumerate(energies):
        course.add(
            Thermodynamics(
                step=n,
                time_ps=0.5 * n,
                potential_energy_eV=energy,
                kinetic_energy_eV=0.0,
                temperature_K=300.0 + n % 2,
                conserved_eV=energy,
                pressure_GPa=None,
                volume_A3=None,
            )
        )
    return course


def test_drift_and_its_error_are_those_of_a_linear_fit():
    times = 0.5 * np.arange(20)
    noise = np.random.default_rng(0).normal(0, 0.01, 20)
    energies = -100.0 + 0.02 * times + noise

    course = course_of(energies)

    (slope, _), covariance = np.polyfit(times, energies, 1, cov=True)
    assert course.drift == pytest.approx(slope * 1000 / 4, rel=1e-9)
    assert course.drift_error == pytest.approx(
        covariance[0, 0] ** 0.5 * 1000 / 4, rel=1e-6
    )


def test_too_few_rows_have_no_drift():
    assert course_of([1.0]).drift is None
    assert course_of([1.0, 2.0]).drift_error is None
