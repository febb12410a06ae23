r"""Pair potential fitted to the forces, to check energies and stress.

Energies, forces and virials of a pair potential :math:`\sum_k c_k \phi_k(r)` are
linear in the same coefficients. Fitted to the forces, it predicts energies and stress
with limited accuracy, which suffices to detect a wrong sign, a wrong unit, permuted
components, or labels of another frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from ase.data import covalent_radii
from jaxtyping import Float, Int
from torch import Tensor

from equipot.data.checks.facts import Facts
from equipot.graph.atomic_graph import AtomicGraph, edge_vectors
from equipot.neighbors import build_graph

CUTOFF = 6.0
"""Cutoff radius in Å of the pair potential."""
NUM_FUNCTIONS = 14
"""Number of radial functions per pair of elements."""
MAX_COLUMNS = 420
"""Number of coefficients above which pairs of elements share radial functions."""
MAX_EDGES = 1_500_000
"""Maximum number of edges."""
MAX_STRUCTURES = 400
"""Maximum number of structures."""
RIDGE = 1e-6
ORDERS = tuple(permutations(range(3)))


@dataclass(frozen=True)
class PairModel:
    """Predictions of the pair potential on the structures of the fit."""

    facts: list[Facts]
    """Structures of the fit, in order."""
    energy: Float[np.ndarray, " structures"]
    """Predicted energies in eV, up to one constant per element."""
    features: Float[np.ndarray, "structures columns"]
    """Derivatives of the energies with respect to the coefficients."""
    stress: Float[np.ndarray, "structures 3 3"]
    """Predicted stress in eV/Å^3; NaN without a volume."""
    forces: list[Float[np.ndarray, "_atoms 3"]]
    """Predicted forces in eV/Å."""
    explained: float
    """Fraction of the variance of the forces that the fit explains."""
    alternatives: dict[str, float]
    """The same for corrected forces, by kind of mistake: swapped columns, forces of the
    neighboring atom or frame."""


def fit_pair_model(facts: Sequence[Facts]) -> PairModel | None:
    """Fit a pair potential to forces.

    Args:
        facts: Structures, of which some have forces.

    Returns:
        Pair potential fitted to (a subset of) the structures with forces, or None if
        there are fewer than 4 or all forces vanish.
    """
    chosen = _choose(
        [f for f in facts if f.num_atoms > 1 and np.isfinite(f.forces).all()]
    )
    if len(chosen) < 4 or not any(f.forces.any() for f in chosen):
        return None
    graphs = [build_graph(f.structure.atoms, CUTOFF) for f in chosen]
    basis = _Basis(graphs)
    size = basis.columns
    gram = torch.zeros(size, size, dtype=torch.float64)
    hypotheses = _alternative_forces(facts)
    right = torch.zeros(size, 1 + len(hypotheses), dtype=torch.float64)
    square = torch.zeros(1 + len(hypotheses), dtype=torch.float64)
    energies, virials, gradients = [], [], []
    for f, graph in zip(chosen, graphs, strict=True):
        energy, gradient, virial = basis.design(graph)
        forces = torch.from_numpy(f.forces)
        weight = 1 / (float(forces.square().mean()) + 1e-2)
        gram += weight * gradient.T @ gradient
        others = [h[f.source] for h in hypotheses.values()]
        columns = torch.from_numpy(np.stack([f.forces, *others])).reshape(
            len(square), -1
        )
        right += weight * gradient.T @ columns.T
        square += weight * columns.square().sum(dim=1)
        energies.append(energy)
        virials.append(virial)
        gradients.append(gradient.float())
    gram += (RIDGE * gram.trace() / size + 1e-300) * torch.eye(
        size, dtype=torch.float64
    )
    coefficients = torch.linalg.solve(gram, right)
    explained = ((right * coefficients).sum(dim=0) / (square + 1e-300)).tolist()
    c = coefficients[:, 0]
    volume = np.array([f.volume or math.nan for f in chosen])
    return PairModel(
        facts=chosen,
        energy=(torch.stack(energies) @ c).numpy(),
        features=torch.stack(energies).numpy(),
        stress=(torch.stack(virials) @ c).numpy() / volume[:, None, None],
        forces=[(g @ c.float()).reshape(-1, 3).double().numpy() for g in gradients],
        explained=explained[0],
        alternatives=dict(zip(hypotheses, explained[1:], strict=True)),
    )


def _alternative_forces(facts: Sequence[Facts]) -> dict[str, dict[str, np.ndarray]]:
    """Corrected forces by source, for each kind of mistake."""
    names = "xyz"
    found = {
        f"the columns of the forces are {' '.join(names[k] for k in order)}": {
            f.source: f.forces[:, np.argsort(order)] for f in facts
        }
        for order in ORDERS[1:]
    }
    for step, name in ((1, "next"), (-1, "previous")):
        found[f"the forces of every atom are those that the {name} row lists"] = {
            f.source: np.roll(f.forces, -step, axis=0) for f in facts
        }
        shifted = {}
        for n, f in enumerate(facts):
            other = facts[(n + step) % len(facts)]
            same = other.file == f.file and np.array_equal(other.numbers, f.numbers)
            shifted[f.source] = other.forces if same else np.zeros_like(f.forces)
        found[f"the forces are those that the {name} frame lists"] = {
            k: np.nan_to_num(v) for k, v in shifted.items()
        }
    return found


def _choose(facts: list[Facts]) -> list[Facts]:
    """Deterministic subset of limited size."""
    order = np.random.default_rng(0).permutation(len(facts)).tolist()
    chosen, edges = [], 0.0
    for n in order[:MAX_STRUCTURES]:
        density = facts[n].num_atoms / facts[n].volume if facts[n].volume else 0.05
        edges += facts[n].num_atoms * density * 4 / 3 * math.pi * CUTOFF**3
        chosen.append(n)
        if edges > MAX_EDGES:
            break
    return [facts[n] for n in sorted(chosen)]


class _Basis:
    """Radial functions per pair of elements, or shared ones with a few weights."""

    def __init__(self, graphs: Sequence[AtomicGraph]) -> None:
        pairs = torch.cat([_pair_codes(g) for g in graphs]).unique()
        self.shared = len(pairs) * NUM_FUNCTIONS > MAX_COLUMNS
        self.pairs = pairs
        self.kinds = 6 if self.shared else len(pairs)
        self.columns = self.kinds * NUM_FUNCTIONS

    def design(
        self, graph: AtomicGraph
    ) -> tuple[
        Float[Tensor, " columns"],
        Float[Tensor, "components columns"],
        Float[Tensor, "3 3 columns"],
    ]:
        """Energy, forces and virial of a structure for each unit coefficient."""
        vectors = edge_vectors(graph)
        r = vectors.norm(dim=1)
        unit = vectors / r[:, None]
        value, slope = self._radial(graph, r)
        energies, forces, virials = [], [], []
        for weight in self._weights(graph).T:
            e = weight.nonzero().squeeze(1)
            edge = weight[e, None] * slope[e]
            force = edge.new_zeros(graph.num_atoms, 3, NUM_FUNCTIONS)
            force.index_add_(
                0, graph.edge_index[1, e], unit[e, :, None] * edge[:, None]
            )
            energies.append(weight[e] @ value[e] / 2)
            forces.append(force)
            virials.append(torch.einsum("ea,eb,ec->abc", vectors[e], unit[e], edge) / 2)
        return (
            torch.cat(energies),
            torch.cat(forces, dim=2).reshape(-1, self.columns),
            torch.cat(virials, dim=2),
        )

    def _radial(
        self, graph: AtomicGraph, r: Float[Tensor, " edges"]
    ) -> tuple[Float[Tensor, "edges functions"], Float[Tensor, "edges functions"]]:
        """Gaussians of the distance over the sum of covalent radii, and derivatives."""
        radii = torch.from_numpy(covalent_radii)[_ends(graph)].sum(dim=0)
        centers = torch.linspace(0.6, 2.8, NUM_FUNCTIONS, dtype=torch.float64)
        width = float(centers[1] - centers[0])
        x = ((r / radii)[:, None] - centers) / width
        s = (r / CUTOFF)[:, None]
        fade, fade_slope = (1 - s**2) ** 3, -6 * s / CUTOFF * (1 - s**2) ** 2
        bump = torch.exp(-(x**2) / 2)
        slope = -x / (width * radii[:, None]) * bump
        return bump * fade, slope * fade + bump * fade_slope

    def _weights(self, graph: AtomicGraph) -> Float[Tensor, "edges kinds"]:
        if not self.shared:
            kind = torch.searchsorted(self.pairs, _pair_codes(graph))
            return torch.nn.functional.one_hot(kind, self.kinds).double()
        ends = _ends(graph)
        a, b = _column_of_table(ends).double() / 18
        radii = torch.from_numpy(covalent_radii)[ends].sum(dim=0) / 3
        ones = torch.ones_like(a)
        return torch.stack(
            [ones, a + b, a * b, (a - b) ** 2, radii, radii * (a + b)], 1
        )


def _ends(graph: AtomicGraph) -> Int[Tensor, "2 edges"]:
    return graph.atomic_numbers[graph.edge_index]


def _pair_codes(graph: AtomicGraph) -> Int[Tensor, " edges"]:
    low, high = _ends(graph).sort(dim=0).values
    return low * 256 + high


def _column_of_table(z: Int[Tensor, "*shape"]) -> Int[Tensor, "*shape"]:
    """Group (1 to 18) of the periodic table; 3 for lanthanides and actinides."""
    columns = [0]
    for length in (2, 8, 8, 18, 18, 32, 32):
        for k in range(1, length + 1):
            from_right = 18 - (length - k)
            columns.append(k if k <= 2 and length > 2 else max(3, from_right))
    columns[1] = 1
    return torch.tensor(columns)[z]
