"""Independence of requested outputs."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from ase import Atoms
from torch import Tensor

from equipot.autodiff.derivatives import hessian_vector_product
from equipot.models.energy_model import EnergyModel
from equipot.models.prediction import Output, Prediction
from equipot.verify.physics import (
    Quantity,
    described,
    graph_of,
    predict,
    size_of_energy,
    size_of_forces,
    worst,
)
from equipot.verify.quantities import given
from equipot.verify.result import Check
from equipot.verify.subject import abilities, detached

TOLERANCE = 1e-11
HESSIAN_TOLERANCE = 1e-9
REASON = (
    "relative to the largest or the typical force, or to the largest feature; rounding "
    "errors of sums in another order"
)
UNITS = {"energy": "eV", "energies": "eV", "forces": "eV/Å", "stress": "eV/Å^3"}
WANTED: tuple[tuple[Output, ...], ...] = (
    ("energy",),
    ("energy", "forces"),
    ("forces",),
    ("stress",),
    ("energy", "features"),
    ("features",),
    ("energy", "forces", "stress"),
    ("energy", "forces", "features", "stress"),
    ("energy", "hessian"),
    ("hessian",),
    ("energy", "forces", "stress", "hessian", "features"),
)
"""What is asked for; what a model does not give is left out."""


def output_checks(
    model: EnergyModel, structures: Sequence[Atoms], *, typical: float = 0.0
) -> list[Check]:
    """Each output, asked for alone and with others, detached and differentiable.

    Args:
        model: In float64.
        structures: Small ones, as Hessians are whole.
        typical: Force in eV/Å of atoms that are not on sites of a lattice.
    """
    same: list[Quantity] = []
    sums: list[Quantity] = []
    hessians: list[Quantity] = []
    for atoms in structures:
        found = predict(model, atoms)
        size = size_of_forces(found, atoms, typical)
        same += _same(model, atoms, size)
        total = size_of_energy(found.energies, size)
        off = float((found.energies.sum() - found.energy).abs())
        sums.append(Quantity("energy", "eV", off, total, described(atoms)))
        if "hessian" in abilities(model):
            hessians.append(_hessian(model, atoms, size))
    checks = [
        worst(
            same,
            name="independence of requested outputs",
            tolerance=TOLERANCE,
            reason=REASON,
        ),
        worst(
            sums,
            name="sum of atomic energies",
            tolerance=TOLERANCE,
            reason=(
                "relative to the typical force times 1 Å per atom; rounding errors of "
                "a sum"
            ),
        ),
    ]
    if hessians:
        checks.append(
            worst(
                hessians,
                name="Hessian-vector products",
                tolerance=HESSIAN_TOLERANCE,
                reason=(
                    "relative to the largest Hessian element or the typical force per "
                    "Å; rounding errors"
                ),
            )
        )
    return checks


def _same(model: EnergyModel, atoms: Atoms, size: float) -> list[Quantity]:
    """Every output in every combination, compared with the first."""
    graph = graph_of(model, [atoms])
    gives = abilities(model)
    known: dict[str, Tensor] = {}
    out = []
    for wanted in WANTED:
        asked = {name for name in wanted if name in gives}
        if "stress" in asked and not atoms.pbc.all():
            asked.remove("stress")
        if not asked:
            continue
        for create_graph in (False, True)[: 1 + ("hessian" not in asked)]:
            prediction = model(graph, asked, create_graph=create_graph)
            for name, value in _values(prediction, asked).items():
                expected = known.setdefault(name, value)
                scale = _size(name, expected, atoms, size)
                unit = UNITS.get(name, "")
                off = _largest(value - expected)
                where = f"{', '.join(sorted(asked))}; {described(atoms)}"
                out.append(Quantity(name, unit, off, scale, where))
    return out


def _values(prediction: Prediction, asked: set[Output]) -> dict[str, Tensor]:
    """What was asked for, and the energies that are always there."""
    values = detached(prediction)
    return {k: v for k, v in values.items() if k in {"energy", "energies", *asked}}


def _size(name: str, value: Tensor, atoms: Atoms, size: float) -> float:
    if name in ("energy", "energies"):
        return size_of_energy(value, size * (len(atoms) / len(value)))
    if name == "stress":
        return size * len(atoms) / float(atoms.get_volume())
    return max(size, _largest(value)) if name == "forces" else _largest(value) or 1.0


def _hessian(model: EnergyModel, atoms: Atoms, size: float) -> Quantity:
    """The matrix that is asked for, and derivatives of the forces."""
    graph = graph_of(model, [atoms])
    (block,) = _blocks(model(graph, {"hessian"}, create_graph=False))
    matrix = block.detach().double().reshape(3 * len(atoms), -1)
    positions = graph.positions.detach().requires_grad_()
    moved = replace(graph, positions=positions)
    forces = given(model(moved, {"forces"}, create_graph=True).forces, "forces")
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(3, *positions.shape, generator=generator).double()
    directions = directions.to(positions.device)
    products = torch.stack(
        [hessian_vector_product(forces, positions, d).double() for d in directions]
    ).flatten(1)
    # a NaN stays one in a tensor, and not in max() of Python
    off = torch.cat([directions.flatten(1) @ matrix.mT - products, matrix - matrix.mT])
    largest = max(size, _largest(products))
    return Quantity("hessian", "eV/Å^2", _largest(off), largest, described(atoms))


def _blocks(prediction: Prediction) -> tuple[Tensor, ...]:
    """Second derivatives of each structure.

    Raises:
        ValueError: If there are none.
    """
    if prediction.hessian is None:
        raise ValueError("the model was asked for hessian and returned none")
    return prediction.hessian


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0
