r"""Smoothness of energy, forces and curvature inside the cutoff.

Atoms move along straight lines. Between two points of a line separated by a short step
h,

.. math:: E_1 - E_0 = -\int F \, dt, \qquad F_1 - F_0 = -\int k \, dt

with the force F and the curvature k along the line. Quadrature of smooth functions is
exact to rounding. A discontinuity J of the force causes an error up to 0.2 J h in the
first equation, one of the curvature in the second; a discontinuity of the third
derivative, as at the cutoff, causes an error that decreases with the square of h.
Pieces with an error are refined, and the remaining error is divided by 0.2 h.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from ase import Atoms
from ase.data import covalent_radii
from jaxtyping import Float64
from torch import Tensor

from equipot.autodiff.derivatives import hessian_vector_product
from equipot.graph.atomic_graph import AtomicGraph, collate
from equipot.graph.scatter import scatter_sum
from equipot.models.energy_model import EnergyModel
from equipot.verify.dimers import Limits
from equipot.verify.physics import (
    MAX_EDGES,
    Quantity,
    described,
    graph_of,
    graph_of_clusters,
    worst,
)
from equipot.verify.quantities import given
from equipot.verify.result import Check
from equipot.verify.scans import THIRD_ATOM, Pair, pair_label

STEP = 0.07
"""Distance in Å between points."""
PATH_STEP = 0.025
"""Mean displacement in Å between points of a path of a whole structure."""
PATH = 0.3
"""Length in Å of such a path."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(4)
"""Gauss-Legendre nodes in each piece."""
NUM_REFINED_PARTS = 16
"""Number of parts of a refined piece."""
REFINEMENTS = 2
QUADRATURE_ERROR_RATIO = 0.2
"""Quadrature error of a discontinuity over the step; at most 0.17."""
TOLERANCE = 2e-3
MAX_REFINED_PIECES = 4
"""Maximum number of refined pieces per line."""
NUM_TRIPLES = 6
"""Number of pairs scanned with a third atom."""
STRETCHED_BOND_RATIO = 1.1
"""Distance over the sum of covalent radii of the atoms that the third one passes."""
MIN_PAIR_RATIO = 0.5
"""Start of lines of pairs without a minimum distance, over the sum of radii."""


@dataclass(frozen=True)
class Line:
    """Straight path of a structure."""

    atoms: Atoms
    """Structure at parameter 0."""
    direction: Float64[np.ndarray, "atoms 3"]
    """Displacement per unit of the parameter."""
    ends: Float64[np.ndarray, " points"]
    """Parameters that separate the pieces, ascending."""
    where: str
    """Description of the location."""

    def at(self, place: float) -> Atoms:
        """Structure at a value of the parameter."""
        moved = self.atoms.copy()
        moved.positions += place * self.direction
        return moved


@dataclass(frozen=True)
class _Piece:
    """Part of a line, with the quadrature errors of energy and force along the line."""

    line: Line
    low: float
    high: float
    energy: float
    force: float
    size: float
    """Largest force along the line."""

    @property
    def jumps(self) -> tuple[float, float]:
        """Discontinuities of force and curvature that explain the quadrature errors."""
        step = QUADRATURE_ERROR_RATIO * (self.high - self.low)
        return self.energy / step, self.force / step


def kink_check(
    model: EnergyModel, lines: Sequence[Line], *, typical: float = 0.0
) -> Check:
    """Largest discontinuity of force or curvature along lines.

    Args:
        model: Model in float64.
        lines: Paths of the atoms.
        typical: Lower bound in eV/Å of the force scale.
    """
    pieces = _measure(model, [(line, line.ends) for line in lines])
    for _ in range(REFINEMENTS):
        suspicious = _suspicious(pieces, typical)
        if not suspicious:
            break
        finer = [
            (p.line, np.linspace(p.low, p.high, NUM_REFINED_PARTS + 1))
            for p in suspicious
        ]
        kept = [p for p in pieces if not _fails(p, typical)]
        pieces = kept + _measure(model, finer)
    quantities = []
    for piece in pieces:
        size = max(typical, piece.size)
        where = f"{piece.line.where} at {(piece.low + piece.high) / 2:.3f}"
        force, curvature = piece.jumps
        quantities.append(Quantity("force", "eV/Å", force, size, where))
        quantities.append(Quantity("curvature", "eV/Å^2", curvature, size, where))
    return worst(
        quantities,
        name="smoothness inside the cutoff",
        tolerance=TOLERANCE,
        reason=(
            "relative to the maximum force along the line, per Å; quadrature over "
            f"{STEP / NUM_REFINED_PARTS**REFINEMENTS:.0e} Å, where third "
            "derivatives may be discontinuous"
        ),
    )


def lines_of_pairs(
    pairs: Sequence[Pair], cutoff: float, closest: Limits | None
) -> list[Line]:
    """Lines of two atoms, two next to a third, and a third that passes two others.

    Args:
        pairs: Atomic numbers.
        cutoff: Cutoff radius in Å, at which the lines end.
        closest: Distance in Å at which they start.
    """
    lines = []
    some = set(np.linspace(0, len(pairs) - 1, NUM_TRIPLES).round().astype(int).tolist())
    for n, (a, b) in enumerate(pairs):
        bond = float(covalent_radii[a] + covalent_radii[b])
        limit = None if closest is None else closest(a, b)
        start = min(MIN_PAIR_RATIO * bond if limit is None else limit, 0.9 * cutoff)
        ends = _ends(start, 0.999 * cutoff, STEP)
        away = np.zeros((3, 3))
        away[1, 2] = 1.0
        label = pair_label((a, b))
        lines.append(Line(Atoms([a, b], np.zeros((2, 3))), away[:2], ends, f"{label}"))
        if n not in some:
            continue
        beside = Atoms([a, b, a], [[0, 0, 0], [0, 0, 0], THIRD_ATOM])
        lines.append(Line(beside, away, ends, f"{label} beside a third atom"))
        apart = STRETCHED_BOND_RATIO * bond
        passed = Atoms([a, b, b], [[0, 0, 0], [apart, 0, 0], [0.0, apart, 0]])
        along = np.zeros((3, 3))
        along[2, 0] = 1.0
        ends = _ends(-1.3 * apart, 2.0 * apart, STEP)
        lines.append(Line(passed, along, ends, f"{label} passed by a third atom"))
    return lines


def lines_of_structures(structures: Sequence[Atoms], seed: int = 0) -> list[Line]:
    """Lines in random directions of all atoms, which change distances and angles.

    Args:
        structures: Structures with two or more atoms.
        seed: Seed of the directions.
    """
    rng = np.random.default_rng(seed)
    lines = []
    for atoms in structures:
        direction = rng.normal(size=(len(atoms), 3))
        direction /= np.sqrt((direction**2).sum() / len(atoms))
        ends = _ends(-PATH / 2, PATH / 2, PATH_STEP)
        lines.append(Line(atoms, direction, ends, f"path of {described(atoms)}"))
    return lines


def _ends(low: float, high: float, step: float) -> Float64[np.ndarray, " points"]:
    """Ends of pieces of unequal length, to avoid round numbers in their middle."""
    count = max(2, int(np.ceil((high - low) / step)))
    ends = np.linspace(low, high, count + 1)
    shift = 0.2 * (ends[1] - ends[0]) * np.sin(1.0 + 2.7 * np.arange(count + 1))
    shift[[0, -1]] = 0.0
    out: np.ndarray = ends + shift
    return out


def _fails(piece: _Piece, typical: float) -> bool:
    size = max(typical, piece.size)
    return not max(piece.jumps) <= TOLERANCE * size


def _suspicious(pieces: Sequence[_Piece], typical: float) -> list[_Piece]:
    """Pieces of each line with the largest errors above the tolerance."""
    failing = [p for p in pieces if _fails(p, typical)]
    failing.sort(key=lambda p: -max(p.jumps))
    counts: dict[int, int] = {}
    chosen = []
    for piece in failing:
        n = counts[id(piece.line)] = counts.get(id(piece.line), 0) + 1
        if n <= MAX_REFINED_PIECES:
            chosen.append(piece)
    return chosen


def _measure(
    model: EnergyModel,
    lines: Sequence[tuple[Line, Float64[np.ndarray, " _points"]]],
) -> list[_Piece]:
    """Quadrature errors in each piece of each line."""
    places = []
    for line, ends in lines:
        inside = ends[:-1, None] + np.diff(ends)[:, None] * (1 + NODES) / 2
        places.append((line, np.concatenate([ends, inside.ravel()])))
    values = np.concatenate(list(_along(model, places)))
    pieces = []
    for line, ends in lines:
        own, values = np.split(values, [len(ends) + (len(ends) - 1) * len(NODES)])
        at_ends, inside = np.split(own, [len(ends)])
        inside = inside.reshape(len(ends) - 1, len(NODES), 3)
        steps = np.diff(ends)
        means = (inside * WEIGHTS[:, None]).sum(axis=1) / 2
        changes = np.diff(at_ends, axis=0)
        energy = np.abs(changes[:, 0] + steps * means[:, 1])
        force = np.abs(changes[:, 1] + steps * means[:, 2])
        size = float(np.abs(own[:, 1]).max())
        pieces += [
            _Piece(line, low, high, e, f, size)
            for low, high, e, f in zip(
                ends[:-1].tolist(),
                ends[1:].tolist(),
                energy.tolist(),
                force.tolist(),
                strict=True,
            )
        ]
    return pieces


def _along(
    model: EnergyModel,
    places: Sequence[tuple[Line, Float64[np.ndarray, " _places"]]],
) -> Iterator[Float64[np.ndarray, "_places three"]]:
    """Energy, force and curvature along lines, batch by batch."""
    graphs, directions, edges = [], [], 0
    for line, some in _in_parts(places):
        graphs.append(_graph(model, line, some))
        directions.append(torch.from_numpy(line.direction).repeat(len(some), 1))
        edges += graphs[-1].num_edges
        if edges > MAX_EDGES / 4:
            yield _measured(model, graphs, torch.cat(directions))
            graphs, directions, edges = [], [], 0
    if graphs:
        yield _measured(model, graphs, torch.cat(directions))


def _in_parts(
    places: Sequence[tuple[Line, Float64[np.ndarray, " _places"]]],
) -> Iterator[tuple[Line, Float64[np.ndarray, " _places"]]]:
    """Points split into parts of limited memory."""
    for line, every in places:
        atoms = len(line.atoms)
        size = max(1, MAX_EDGES // (100 * atoms)) if atoms > 3 else len(every)
        for start in range(0, len(every), size):
            yield line, every[start : start + size]


def _graph(
    model: EnergyModel, line: Line, places: Float64[np.ndarray, " places"]
) -> AtomicGraph:
    """Batch of the structures at points of a line; clusters share one search."""
    if line.atoms.pbc.any():
        return graph_of(model, [line.at(place) for place in places.tolist()])
    positions = line.atoms.positions + places[:, None, None] * line.direction
    return graph_of_clusters(model, line.atoms.numbers.tolist(), positions)


def _measured(
    model: EnergyModel,
    graphs: Sequence[AtomicGraph],
    along: Float64[Tensor, "_atoms 3"],
) -> Float64[np.ndarray, "_places three"]:
    batch = collate(graphs)
    positions = batch.positions.detach().requires_grad_()
    found = model(
        replace(batch, positions=positions), {"energy", "forces"}, create_graph=True
    )
    forces = given(found.forces, "forces")
    along = along.to(model.device)
    products = hessian_vector_product(forces, positions, along)
    projected = [
        scatter_sum((v.detach().double() * along).sum(1), batch.batch, batch.num_graphs)
        for v in (forces, products)
    ]
    energies = found.energy.detach().double()
    return torch.stack([energies, *projected], dim=1).cpu().numpy()
