"""Energy conservation: work along paths, and symmetry of the Hessian."""

from collections.abc import Sequence

import numpy as np
import torch
from ase import Atoms
from jaxtyping import Float64

from equipot.autodiff.derivatives import hessian_vector_product
from equipot.graph.atomic_graph import edge_vectors
from equipot.models.differentiable import differentiable_forces
from equipot.models.energy_model import EnergyModel
from equipot.models.prediction import Output
from equipot.verify.physics import (
    MIN_FORCE_SCALE,
    Quantity,
    described,
    graph_of,
    predict_in_batches,
    worst,
)
from equipot.verify.quantities import given
from equipot.verify.result import Check

PATH = 0.4
"""Mean displacement of an atom along a path, in Å, unless atoms would collide."""
CLOSEST = 0.85
"""Smallest ratio of the distances of two atoms at the ends and in the middle."""
SHORTENING = 0.7
"""Factor of the displacements where atoms would come closer."""
SHORTENINGS = 6
"""Largest number of such factors."""
PIECES = 12
NODES, WEIGHTS = np.polynomial.legendre.leggauss(4)
"""Gauss-Legendre nodes in each piece of a path: exact up to eighth order."""
WORK_TOLERANCE = 1e-5
EXPANSION = 2.6
"""Linear expansion of a compressed crystal: a factor of 18 in density."""
EXPANSION_PIECES = 40
EXPANSION_TOLERANCE = 1e-3


def conservation_checks(
    model: EnergyModel,
    structures: Sequence[Atoms],
    *,
    seed: int = 0,
    typical: float = MIN_FORCE_SCALE,
) -> list[Check]:
    """Check the work along paths, and the symmetry of second derivatives.

    Args:
        model: Model in float64.
        structures: Structures with atoms.
        seed: Seed of paths and directions.
        typical: Lower bound in eV/Å of the force scale of errors.
    """
    rng = np.random.default_rng(seed)
    moving = [atoms for atoms in structures if len(atoms) > 1] or list(structures)
    return [
        worst(
            [_work(model, atoms, rng, typical) for atoms in moving],
            name="work along a path",
            tolerance=WORK_TOLERANCE,
            reason=(
                f"relative to work; {PIECES} pieces of {len(NODES)} points, kinks "
                "in third derivatives where pairs cross the cutoff"
            ),
        ),
        worst(
            [_curl(model, atoms, rng, typical) for atoms in structures],
            name="Hessian symmetry",
            reason="relative to the largest product; rounding in second derivatives",
        ),
    ]


def expansion_check(
    model: EnergyModel, crystal: Atoms, *, typical: float = MIN_FORCE_SCALE
) -> Check:
    """Compare the work of the stress in an expansion with the change of energy.

    Atoms lose most of their neighbors during the expansion, so a discontinuity of the
    energy at any number of neighbors is detected.

    Args:
        model: Model in float64 with stress.
        crystal: Compressed periodic structure.
        typical: Lower bound in eV/Å of the force scale of errors.
    """
    ends = np.geomspace(1.0, EXPANSION, EXPANSION_PIECES + 1)
    steps = np.diff(ends)
    inside = ends[:-1, None] + steps[:, None] * (1 + NODES) / 2
    scales = [*ends.tolist(), *inside.ravel().tolist()]
    expanded = []
    for scale in scales:
        larger = crystal.copy()
        larger.set_cell(scale * crystal.cell.array, scale_atoms=True)
        expanded.append(larger)
    energies, slopes = [], []
    outputs: set[Output] = {"energy", "stress"}
    for batch, found in predict_in_batches(model, expanded, outputs):
        volumes = torch.linalg.det(batch.cell).abs()
        traces = given(found.stress, "stress").diagonal(dim1=1, dim2=2).sum(1)
        energies.append(found.energy.double().cpu().numpy())
        slopes.append((volumes * traces).double().cpu().numpy())
    at_ends = np.concatenate(energies)[: len(ends)]
    slope = np.concatenate(slopes)[len(ends) :].reshape(inside.shape) / inside
    gains, work = np.diff(at_ends), steps * (slope @ WEIGHTS) / 2
    quantities = []
    for n, (gain, done) in enumerate(zip(gains.tolist(), work.tolist(), strict=True)):
        near = slice(max(0, n - 1), n + 2)
        size = max(float(np.abs(work[near]).max()), typical * float(steps[n]))
        where = f"{described(crystal)} expanded by {ends[n]:.2f}"
        quantities.append(Quantity("work", "eV", abs(gain - done), size, where))
    return worst(
        quantities,
        name="work along an expansion",
        tolerance=EXPANSION_TOLERANCE,
        reason=(
            f"relative to work; {EXPANSION_PIECES} pieces of {len(NODES)} points; "
            "kinks in third derivatives where shells of neighbors leave the cutoff"
        ),
    )


def _work(
    model: EnergyModel, atoms: Atoms, rng: np.random.Generator, typical: float
) -> Quantity:
    """Work of the forces along a straight path, and the decrease of energy."""
    direction = _direction(model, atoms, rng)
    inside = (np.arange(PIECES)[:, None] + (1 + NODES) / 2) / PIECES - 0.5
    places = [-0.5, *inside.ravel().tolist(), 0.5]
    energies, forces = _along(model, atoms, direction, places)
    powers = (forces[1:-1] * direction).sum(axis=(1, 2))
    weights = np.tile(WEIGHTS, PIECES) / 2 / PIECES
    work, effort = float(weights @ powers), float(weights @ np.abs(powers))
    loss = float(energies[0] - energies[-1])
    size = max(effort, typical * PATH)
    return Quantity("work", "eV", abs(work - loss), size, described(atoms))


def _direction(
    model: EnergyModel, atoms: Atoms, rng: np.random.Generator
) -> Float64[np.ndarray, "atoms 3"]:
    """Displacement from the start to the end of a path, on which no atoms collide.

    Between colliding atoms, energies can change by so many orders of magnitude that no
    quadrature is accurate; other checks are about such distances.
    """
    direction = rng.normal(size=(len(atoms), 3))
    direction *= PATH / np.sqrt((direction**2).sum() / len(atoms))
    graph = graph_of(model, [atoms])
    vectors = edge_vectors(graph).cpu().numpy()
    senders, receivers = graph.edge_index.cpu().numpy()
    for _ in range(SHORTENINGS):
        change = 0.5 * (direction[senders] - direction[receivers])
        ends = np.stack([vectors - change, vectors + change])
        lengths = np.linalg.norm(ends, axis=2)
        if np.all(lengths >= CLOSEST * np.linalg.norm(vectors, axis=1)):
            break
        direction *= SHORTENING
    return direction


def _displaced(atoms: Atoms, shift: Float64[np.ndarray, "atoms 3"]) -> Atoms:
    moved = atoms.copy()
    moved.positions += shift
    return moved


def _along(
    model: EnergyModel,
    atoms: Atoms,
    direction: Float64[np.ndarray, "atoms 3"],
    places: Sequence[float],
) -> tuple[Float64[np.ndarray, " places"], Float64[np.ndarray, "places atoms 3"]]:
    """Energies and forces of a structure displaced along a line."""
    moved = [_displaced(atoms, place * direction) for place in places]
    energies, forces = [], []
    for _, found in predict_in_batches(model, moved, {"energy", "forces"}):
        energies.append(found.energy.double().cpu().numpy())
        forces.append(given(found.forces, "forces").double().cpu().numpy())
    return np.concatenate(energies), np.concatenate(forces).reshape(
        len(places), len(atoms), 3
    )


def _curl(
    model: EnergyModel, atoms: Atoms, rng: np.random.Generator, typical: float
) -> Quantity:
    """Products u H v and v H u; their difference is the circulation of the forces."""
    graph = graph_of(model, [atoms])
    forces, positions = differentiable_forces(model, graph)
    u, v = torch.from_numpy(rng.normal(size=(2, len(atoms), 3))).to(forces.device)
    u, v = u / u.norm(), v / v.norm()
    hu = hessian_vector_product(forces, positions, u).double()
    hv = hessian_vector_product(forces, positions, v).double()
    difference = float(((u * hv).sum() - (v * hu).sum()).abs())
    size = max(typical, float(hu.norm()), float(hv.norm()))
    return Quantity("Hessian", "eV/Å^2", difference, size, described(atoms))
