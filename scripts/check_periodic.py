"""Check a potential of a crystal: derivatives, and the equation of state of its labels.

    python scripts/check_periodic.py MODEL FILE

Forces and stress of the most disordered structure of FILE are compared with finite
differences of the energy, in float64. The bulk modulus of the most perfect crystal of
FILE, from energies by `ase.eos`, is compared with that of the labels: the slope of
`REF_stress` over the volumes of the perfect crystals that FILE holds.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.eos import EquationOfState
from ase.io import read

from equipot import EquipotCalculator
from equipot.units import GPA_PER_EV_PER_A3

STEP = 1e-3
PERFECT_FORCE = 1e-3
"""Largest force in eV/Å on an atom of a perfect crystal."""
LINEAR_RANGE = 0.03
"""Largest relative change of volume that labels are fitted over."""


def derivative(function: Callable[[float], float]) -> float:
    """Central difference of sixth order at zero."""
    f = {n: function(n * STEP) for n in (-3, -2, -1, 1, 2, 3)}
    return (45 * (f[1] - f[-1]) - 9 * (f[2] - f[-2]) + (f[3] - f[-3])) / (60 * STEP)


def energy(atoms: Atoms, calculator: EquipotCalculator) -> float:
    atoms.calc = calculator
    return atoms.get_potential_energy()


def force_error(
    atoms: Atoms, calculator: EquipotCalculator, components: int = 12
) -> float:
    """Largest deviation of forces from differences, relative to the largest force."""
    atoms.calc = calculator
    forces = atoms.get_forces()
    rng = np.random.default_rng(0)
    errors = []
    for atom, axis in zip(
        rng.integers(len(atoms), size=components),
        rng.integers(3, size=components),
        strict=True,
    ):

        def displaced(h: float, atom: int = atom, axis: int = axis) -> float:
            moved = atoms.copy()
            moved.positions[atom, axis] += h
            return energy(moved, calculator)

        errors.append(abs(-derivative(displaced) - forces[atom, axis]))
    return max(errors) / np.abs(forces).max()


def stress_error(atoms: Atoms, calculator: EquipotCalculator) -> float:
    """Largest deviation of stress from differences, relative to the largest stress."""
    atoms.calc = calculator
    stress = atoms.get_stress(voigt=False)
    errors = []
    for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):

        def strained(h: float, i: int = i, j: int = j) -> float:
            strain = np.eye(3)
            strain[i, j] += h / 2
            strain[j, i] += h / 2
            deformed = atoms.copy()
            deformed.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            return energy(deformed, calculator)

        errors.append(abs(derivative(strained) / atoms.get_volume() - stress[i, j]))
    return max(errors) / np.abs(stress).max()


def label_stress(atoms: Atoms) -> np.ndarray:
    return np.asarray(atoms.info["REF_stress"], dtype=float).reshape(3, 3)


def labeled_bulk_modulus(crystals: list[Atoms], volume: float) -> tuple[float, int]:
    """Bulk modulus in GPa from labels around a volume per atom, and their number."""
    volumes = np.array([a.get_volume() / len(a) for a in crystals])
    pressures = np.array([-np.trace(label_stress(a)) / 3 for a in crystals])
    near = np.abs(volumes / volume - 1) < LINEAR_RANGE
    slope = np.polynomial.Polynomial.fit(volumes[near], pressures[near], 2).deriv()
    return float(-volume * slope(volume) * GPA_PER_EV_PER_A3), int(near.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    calculator = EquipotCalculator(
        arguments.model, dtype="float64", on_extrapolation="ignore"
    )
    frames = [a for a in read(arguments.file, ":") if a.pbc.all()]
    largest = [np.abs(a.arrays["REF_forces"]).max() for a in frames]

    hottest = frames[int(np.argmax(largest))]
    print(
        f"forces against differences: {force_error(hottest, calculator):.1e} relative"
    )
    print(
        f"stress against differences: {stress_error(hottest, calculator):.1e} relative"
    )

    crystals = [a for a, f in zip(frames, largest, strict=True) if f < PERFECT_FORCE]
    perfect = min(crystals, key=lambda a: np.abs(label_stress(a)).max())
    crystals = [a for a in crystals if len(a) == len(perfect)]
    volumes, energies = [], []
    for scale in np.linspace(0.98, 1.02, 9):
        scaled = perfect.copy()
        scaled.set_cell(perfect.cell.array * scale, scale_atoms=True)
        volumes.append(scaled.get_volume() / len(scaled))
        energies.append(energy(scaled, calculator) / len(scaled))
    v0, _, modulus = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    label, count = labeled_bulk_modulus(crystals, perfect.get_volume() / len(perfect))
    print(
        f"volume per atom: model {v0:.3f} Å^3, labels "
        f"{perfect.get_volume() / len(perfect):.3f} Å^3"
    )
    print(
        f"bulk modulus: model {modulus * GPA_PER_EV_PER_A3:.1f} GPa, labels "
        f"{label:.1f} GPa (stress of {count} crystals)"
    )


if __name__ == "__main__":
    main()
