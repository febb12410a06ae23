r"""Smoothness of energy, forces and curvature inside the cutoff.

Atoms move along straight lines. Between two points of a line that are a short step h
apart,

.. math:: E_1 - E_0 = -\int F \, dt, \qquad F_1 - F_0 = -\int k \, dt

with the force F and the curvature k along the line. Quadrature of smooth functions is
exact to rounding. Where a force jumps by J the first misses up to 0.2 J h, where a
curvature jumps the second does; where a third derivative jumps, as at the cutoff, what
is missed falls with the square of h. Pieces where anything is missed are refined, and
what is left is divided by 0.2 h.
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
from equipot.verify.scans import THIRD, Pair, pair_label

STEP = 0.07
"""Å between points."""
PATH_STEP = 0.025
"""Å that atoms move on average between points of a path of a whole structure."""
PATH = 0.3
"""Å of such a path."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(4)
"""Of Gauss and Legendre, in each piece."""
NUM_REFINED_PARTS = 16
"""Parts of a piece where something is missed."""
REFINEMENTS = 2
QUADRATURE_ERROR_RATIO = 0.2
"""What quadrature misses of a jump, over the step: 0.17 at most."""
TOLERANCE = 2e-3
MAX_REFINED_PIECES = 4
"""Pieces of a line that are refined."""
NUM_TRIPLES = 6
"""Pairs that are looked at with a third atom."""
STRETCHED = 1.1
"""Of the sum of covalent radii: distance of atoms that the third one passes."""
CLOSEST = 0.5
"""Of the sum of covalent radii: where lines of pairs start that may come that close."""


@dataclass(frozen=True)
class Line:
    """A structure whose atoms move along a line."""

    atoms: Atoms
    """Where the parameter is zero."""
    direction: Float64[np.ndarray, "atoms 3"]
    """Displacement for each unit of the parameter."""
    ends: Float64[np.ndarray, " points"]
    """Values of the parameter between which there are pieces, ascending."""
    where: str
    """In words."""

    def at(self, place: float) -> Atoms:
        """The structure at a value of the parameter."""
        moved = self.atoms.copy()
        moved.positions += place * self.direction
        return moved


@dataclass(frozen=True)
class _Piece:
    """Part of a line, and what is missed in it: energy, and force along the line."""

    line: Line
    low: float
    high: float
    energy: float
    force: float
    size: float
    """Largest force along the line."""

    @property
    def jumps(self) -> tuple[float, float]:
        """Jumps of force and curvature that explain what is missed."""
        step = QUADRATURE_ERROR_RATIO * (self.high - self.low)
        return self.energy / step, self.force / step


def kink_check(
    model: EnergyModel, lines: Sequence[Line], *, typical: float = 0.0
) -> Check:
    """The largest jump of a force or a curvature on lines.

    Args:
        model: In float64.
        lines: Along which atoms move.
        typical: Force in eV/Å by which jumps are judged at least.
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
            "relative to the largest force along the line, per Å; quadrature error on "
            f"intervals of {STEP / NUM_REFINED_PARTS**REFINEMENTS:.0e} Å, where third "
            "derivatives may be discontinuous"
        ),
    )


def lines_of_pairs(
    pairs: Sequence[Pair], cutoff: float, closest: Limits | None
) -> list[Line]:
    """Two atoms, two beside a third, and one that passes two others.

    Args:
        pairs: Atomic numbers.
        cutoff: In Å, where the lines end.
        closest: Distance in Å where they start.
    """
    lines = []
    some = set(np.linspace(0, len(pairs) - 1, NUM_TRIPLES).round().astype(int).tolist())
    for n, (a, b) in enumerate(pairs):
        bond = float(covalent_radii[a] + covalent_radii[b])
        limit = None if closest is None else closest(a, b)
        start = min(CLOSEST * bond if limit is None else limit, 0.9 * cutoff)
        ends = _ends(start, 0.999 * cutoff, STEP)
        away = np.zeros((3, 3))
        away[1, 2] = 1.0
        label = pair_label((a, b))
        lines.append(Line(Atoms([a, b], np.zeros((2, 3))), away[:2], ends, f"{label}"))
        if n not in some:
            continue
        beside = Atoms([a, b, a], [[0, 0, 0], [0, 0, 0], THIRD])
        lines.append(Line(beside, away, ends, f"{label} beside a third atom"))
        apart = STRETCHED * bond
        passed = Atoms([a, b, b], [[0, 0, 0], [apart, 0, 0], [0.0, apart, 0]])
        along = np.zeros((3, 3))
        along[2, 0] = 1.0
        ends = _ends(-1.3 * apart, 2.0 * apart, STEP)
        lines.append(Line(passed, along, ends, f"{label} passed by a third atom"))
    return lines


def lines_of_structures(structures: Sequence[Atoms], seed: int = 0) -> list[Line]:
    """Random directions in which all atoms move; distances and angles change.

    Args:
        structures: With more than one atom each.
        seed: Of the directions.
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
    """Ends of pieces of unequal lengths: none has a round number in its middle."""
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
    """The worst pieces of each line where more is missed than is allowed."""
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
    """What quadrature misses in each piece of each line."""
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
    """Energy, force and curvature along their lines, for one batch after the other."""
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
    """The same places, in parts that memory is sure to hold."""
    for line, every in places:
        atoms = len(line.atoms)
        size = max(1, MAX_EDGES // (100 * atoms)) if atoms > 3 else len(every)
        for start in range(0, len(every), size):
            yield line, every[start : start + size]


def _graph(
    model: EnergyModel, line: Line, places: Float64[np.ndarray, " places"]
) -> AtomicGraph:
    """A structure at each place of a line; clusters need one search for all."""
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
