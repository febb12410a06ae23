"""Whether forces conserve an energy: along paths, in the small, and in dynamics."""

from collections.abc import Sequence

import ase.units
import numpy as np
import torch
from ase import Atoms

from equipot.agreement import Difference
from equipot.derivatives import hessian_vector_product
from equipot.graph import AtomicGraph
from equipot.models.differentiable import differentiable_forces
from equipot.models.energy_model import EnergyModel
from equipot.neighbors import build_graph
from equipot.verify.physics import SMALLEST_FORCE, graph_of, worst
from equipot.verify.quantities import given
from equipot.verify.result import Check

PATH = 0.4
"""Å that an atom moves, on average, along a path."""
PIECES = 16
NODES, WEIGHTS = np.polynomial.legendre.leggauss(4)
"""Of Gauss and Legendre, in each piece of a path: exact to eighth order."""
WORK_TOLERANCE = 1e-5
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


def conservation_checks(
    model: EnergyModel, structures: Sequence[Atoms], *, seed: int = 0
) -> list[Check]:
    """Work along paths, symmetry of second derivatives, and energy in dynamics.

    Args:
        model: In float64.
        structures: With atoms.
        seed: Of paths and velocities.
    """
    rng = np.random.default_rng(seed)
    moving = [atoms for atoms in structures if len(atoms) > 1] or list(structures)
    return [
        worst(
            [_work(model, atoms, rng) for atoms in moving],
            against="energy along a path",
            tolerance=WORK_TOLERANCE,
            reason=(
                f"of the work done; {PIECES} pieces of {len(NODES)} points, with kinks "
                "in third derivatives where pairs cross the cutoff"
            ),
        ),
        worst(
            [_curl(model, atoms, rng) for atoms in structures],
            against="its transpose",
            reason="of the largest product; rounding in second derivatives",
        ),
        _time_step_law(model, moving[0], rng),
    ]


def _work(
    model: EnergyModel, atoms: Atoms, rng: np.random.Generator
) -> tuple[str, str, float, float]:
    """Work of the forces along a straight path, and the loss of energy."""
    direction = rng.normal(size=(len(atoms), 3))
    direction *= PATH / np.sqrt((direction**2).sum() / len(atoms))
    work, effort = 0.0, 0.0
    for piece in range(PIECES):
        for node, weight in zip(NODES.tolist(), WEIGHTS.tolist(), strict=True):
            s = (piece + (1 + node) / 2) / PIECES - 0.5
            power = float((_forces(model, atoms, s * direction) * direction).sum())
            work += power * weight / 2 / PIECES
            effort += abs(power) * weight / 2 / PIECES
    loss = _energy(model, atoms, -direction / 2) - _energy(model, atoms, direction / 2)
    return "work", "eV", abs(work - loss), max(effort, SMALLEST_FORCE * PATH)


def _curl(
    model: EnergyModel, atoms: Atoms, rng: np.random.Generator
) -> tuple[str, str, float, float]:
    """U H v and v H u: their difference is the circulation of the forces."""
    graph = graph_of(model, [atoms])
    forces, positions = differentiable_forces(model, graph)
    u, v = torch.from_numpy(rng.normal(size=(2, len(atoms), 3))).to(forces.device)
    u, v = u / u.norm(), v / v.norm()
    hu = hessian_vector_product(forces, positions, u).double()
    hv = hessian_vector_product(forces, positions, v).double()
    difference = float(((u * hv).sum() - (v * hu).sum()).abs())
    size = max(SMALLEST_FORCE, float(hu.norm()), float(hv.norm()))
    return "Hessian", "eV/Å^2", difference, size


def _time_step_law(model: EnergyModel, atoms: Atoms, rng: np.random.Generator) -> Check:
    """Exponent of the time step in the error of the energy, by two runs."""
    masses = atoms.get_masses()[:, None]
    spread = np.sqrt(ase.units.kB * TEMPERATURE / masses)
    velocities = rng.normal(size=(len(atoms), 3)) * spread
    errors = [
        _energy_error(model, atoms, velocities, step * ase.units.fs)
        for step in TIME_STEPS
    ]
    if max(errors) < SMALLEST_DRIFT * len(atoms):
        exponent = LAW
    else:
        exponent = float(np.log2(errors[0] / max(errors[1], 1e-300)))
    return Check(
        quantity="exponent",
        unit="",
        against="dt^2 law of dynamics",
        dtype="float64",
        difference=Difference(abs(exponent - LAW), 1.0, LAW_TOLERANCE),
        reason=(
            f"absolute; velocity Verlet over {DURATION:g} fs at {TIME_STEPS[0]:g} and "
            f"{TIME_STEPS[1]:g} fs, whose error is quadratic for short steps"
        ),
    )


def _energy_error(
    model: EnergyModel, atoms: Atoms, velocities: np.ndarray, step: float
) -> float:
    """Largest change of the total energy in eV along a short trajectory."""
    masses = atoms.get_masses()[:, None]
    x = np.zeros((len(atoms), 3))
    v = velocities.copy()

    def total() -> float:
        return _energy(model, atoms, x) + float((masses * v**2).sum()) / 2

    start = total()
    error = 0.0
    forces = _forces(model, atoms, x)
    for _ in range(round(DURATION * ase.units.fs / step)):
        v += step / 2 * forces / masses
        x += step * v
        forces = _forces(model, atoms, x)
        v += step / 2 * forces / masses
        change = abs(total() - start)
        error = change if not change <= error else error
    return error


def _energy(model: EnergyModel, atoms: Atoms, moved: np.ndarray) -> float:
    graph = _moved(model, atoms, moved)
    return float(model(graph, {"energy"}, create_graph=False).energy.sum())


def _forces(model: EnergyModel, atoms: Atoms, moved: np.ndarray) -> np.ndarray:
    graph = _moved(model, atoms, moved)
    forces = model(graph, {"forces"}, create_graph=False).forces
    out: np.ndarray = given(forces, "forces").double().cpu().numpy()
    return out


def _moved(model: EnergyModel, atoms: Atoms, moved: np.ndarray) -> AtomicGraph:
    """Graph after atoms were moved, with neighbors searched afresh."""
    displaced = atoms.copy()
    displaced.positions += moved
    return build_graph(displaced, model.cutoff).to(model.device)
