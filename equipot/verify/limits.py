"""Dissociation limit and isolated-atom energies."""

from collections.abc import Mapping, Sequence

from ase import Atoms
from ase.data import chemical_symbols

from equipot.models.energy_model import EnergyModel
from equipot.verify.physics import predict_together, worst
from equipot.verify.result import Check
from equipot.verify.scans import Pair, pair_label

TOLERANCE = 1e-10
REASON = "relative to the energy; rounding errors of sums; forces must vanish"


def separation_check(model: EnergyModel, pairs: Sequence[Pair]) -> Check:
    """Energy of two atoms beyond the cutoff, and of each alone."""
    elements = sorted({z for pair in pairs for z in pair})
    structures = [Atoms([z]) for z in elements] + [
        Atoms(pair, [[0, 0, 0], [0, 0, 1.01 * model.cutoff]]) for pair in pairs
    ]
    found = predict_together(model, structures)
    free = {z: float(p.energy) for z, p in zip(elements, found, strict=False)}
    checks = []
    for pair, apart in zip(pairs, found[len(elements) :], strict=True):
        energy = float(apart.energy)
        difference = abs(energy - free[pair[0]] - free[pair[1]])
        force = float(apart.forces.abs().max())
        checks.append(
            worst(
                [
                    ("energy", "eV", difference, max(1.0, abs(energy))),
                    ("forces", "eV/Å", force, 1.0),
                ],
                name="dissociation limit",
                tolerance=TOLERANCE,
                reason=REASON,
                where=pair_label(pair),
            )
        )
    return _worst_of(checks)


def free_atom_check(
    model: EnergyModel, elements: Sequence[int], reference: Mapping[int, float]
) -> Check:
    """Energies of isolated atoms, and those that the potential states."""
    found = predict_together(model, [Atoms([z]) for z in elements])
    return _worst_of(
        [
            worst(
                [
                    (
                        "energy",
                        "eV",
                        abs(float(p.energy) - reference[z]),
                        max(1.0, abs(reference[z])),
                    )
                ],
                name="isolated-atom energies",
                tolerance=TOLERANCE,
                reason=REASON,
                where=chemical_symbols[z],
            )
            for z, p in zip(elements, found, strict=True)
        ]
    )


def _worst_of(checks: Sequence[Check]) -> Check:
    """The check that differs most; a NaN is the worst of all."""
    return max(checks, key=lambda c: (not c.passed, c.difference.relative))
