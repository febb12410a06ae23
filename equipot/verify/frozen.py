"""Comparison of a frozen potential, as the calculator uses it, with the potential."""

from collections.abc import Sequence

import torch
from ase import Atoms
from torch import Tensor

from equipot.frozen import FrozenPotential, InaccurateTableError, unsupported
from equipot.models.build import with_backend
from equipot.models.potential import Potential
from equipot.verify.physics import (
    Quantity,
    described,
    predict,
    size_of_forces,
    worst,
)
from equipot.verify.result import Check

NAMES = {
    torch.float64: "frozen evaluation",
    torch.float32: "frozen evaluation in float32",
}
TOLERANCES = {torch.float64: 1e-7, torch.float32: 1e-4}
REASON = (
    "relative to the largest or the typical force, over 1 Å per atom, or per volume; "
    "splines have relative errors of 1e-10 in float64 and 3e-7 in float32"
)


def frozen_checks(
    potential: Potential, structures: Sequence[Atoms], *, typical: float = 0.0
) -> tuple[list[Check], str | None]:
    """Compare energies, forces and stress in both precisions.

    Args:
        potential: Potential in any precision.
        structures: Structures with atoms.
        typical: Typical force in eV/Å of atoms off lattice sites.

    Returns:
        checks: One check per quantity and precision; none if the potential is not
            frozen.
        reason: Reason why it is not frozen; None if it is.
    """
    if (reason := unsupported(potential)) is not None:
        return [], reason
    checks = []
    try:
        for dtype in TOLERANCES:
            checks += _checks(potential, structures, dtype, typical)
    except InaccurateTableError as error:
        return [], str(error)
    return checks, None


def _checks(
    potential: Potential,
    structures: Sequence[Atoms],
    dtype: torch.dtype,
    typical: float,
) -> list[Check]:
    model = with_backend(potential, potential.backend, dtype)
    frozen = FrozenPotential(model)
    found: dict[str, list[Quantity]] = {}
    for atoms in structures:
        a, b = predict(frozen, atoms), predict(model, atoms)
        size, where = size_of_forces(b, atoms, typical), described(atoms)
        total = size * len(atoms)
        quantities = [
            Quantity("energy", "eV", _largest(a.energy - b.energy), total, where),
            Quantity("forces", "eV/Å", _largest(a.forces - b.forces), size, where),
        ]
        if a.stress is not None and b.stress is not None:
            off = _largest(a.stress - b.stress)
            scale = total / float(atoms.get_volume())
            quantities.append(Quantity("stress", "eV/Å^3", off, scale, where))
        for quantity in quantities:
            found.setdefault(quantity.name, []).append(quantity)
    return [
        worst(
            quantities,
            name=NAMES[dtype],
            tolerance=TOLERANCES[dtype],
            reason=REASON,
            dtype=str(dtype).removeprefix("torch."),
        )
        for quantities in found.values()
    ]


def _largest(values: Tensor) -> float:
    return float(values.abs().max())
