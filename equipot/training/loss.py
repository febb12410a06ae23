"""Loss: weighted errors of energies, forces, stress and Hessians."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from ase.data import chemical_symbols
from jaxtyping import Float
from torch import Tensor

from equipot.data.labels import Labels
from equipot.graph.atomic_graph import AtomicGraph
from equipot.graph.scatter import scatter_sum
from equipot.models.prediction import Output, Prediction
from equipot.training.hessian_loss import (
    HessianMode,
    HessianVectors,
    derivative_products,
    draw_vectors,
    residuals,
)

Term = Literal["energy", "forces", "stress", "hessian", "hessian_direct"]
HESSIANS: Final[tuple[Term, ...]] = ("hessian", "hessian_direct")
"""Hessian terms: second derivatives of the energy, and the direct head."""
Kind = Literal["mse", "mae", "huber"]
Residual = Float[Tensor, "*shape"]


def _huber(residual: Residual, delta: float) -> Residual:
    zero = torch.zeros_like(residual)
    return torch.nn.functional.huber_loss(residual, zero, reduction="none", delta=delta)


PENALTIES: Final[Mapping[Kind, Callable[[Tensor, float], Tensor]]] = {
    "mse": lambda residual, _: residual**2,
    "mae": lambda residual, _: residual.abs(),
    "huber": _huber,
}
"""Penalty functions; the second argument is the delta of the Huber loss."""


@dataclass(frozen=True)
class LossTerm:
    """Settings of one loss term.

    Args:
        weights: Pairs (first epoch, weight), epochs ascending from 0.
        kind: Penalty function.
        delta: Residual where the Huber loss becomes linear, in its unit.
        per_atom: Divide residuals of energies by the number of atoms.
        mode: Estimate of Hessian errors; see `equipot.training.hessian_loss`.
        samples: Number of rows, probes or modes per Hessian.
        elements: Pairs (atomic number, factor on its force penalties); 1 for all
            others.
    """

    weights: tuple[tuple[int, float], ...]
    kind: Kind = "mse"
    delta: float = 0.01
    per_atom: bool = True
    mode: HessianMode = "probes"
    samples: int = 1
    elements: tuple[tuple[int, float], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in PENALTIES:
            raise ValueError(f"kind must be one of {get_args(Kind)}, got {self.kind!r}")
        if not self.weights or self.weights[0][0] != 0:
            raise ValueError(f"weights must start at epoch 0, got {self.weights}")

    def weight(self, epoch: int | float) -> float:
        """Weight in an epoch, counted from 0; infinity gives the last weight."""
        return [weight for start, weight in self.weights if start <= epoch][-1]

    @property
    def learned(self) -> bool:
        """Whether the weight is positive in some epoch."""
        return any(weight > 0 for _, weight in self.weights)


@dataclass
class PenaltySum:
    """Sum and number of the penalties of one property, over present labels."""

    total: Float[Tensor, ""]
    count: int

    def mean(self) -> Float[Tensor, ""]:
        """Mean over the labels; zero if there are none."""
        return self.total / max(self.count, 1)


class EnergyForcesStressLoss:
    r"""Weighted sum over properties of the mean penalty of their labels.

    .. math:: L = \sum_k \frac{w_k}{N_k}
        \sum_{n=1}^{N_k} v_{kn} \ell_k(\hat y_{kn} - y_{kn})

    over the :math:`N_k` labels of property k in the batch: energies per atom in eV,
    force components in eV/Å and the nine components of stress in eV/Å^3, so that
    off-diagonal ones count twice and the square is the Frobenius norm, which does not
    depend on the axes. Missing labels (NaN) and those of weight :math:`v = 0`
    are excluded from both sums; other weights, of structures or elements, do not change
    :math:`N_k`, so that their effect does not depend on the rest of the batch. The
    penalty :math:`\ell` is the square, the absolute value, or Huber's. Hessians, in
    eV/Å^2, enter by estimates from Hessian-vector products; see
    `equipot.training.hessian_loss`.

    Args:
        terms: Terms by property.
    """

    def __init__(self, terms: Mapping[Term, LossTerm]) -> None:
        self.terms = {name: term for name, term in terms.items() if term.learned}
        if not self.terms:
            raise ValueError("the loss has no term with a positive weight")

    @property
    def outputs(self) -> set[Output]:
        """Outputs that the loss needs; always includes the energy."""
        return self.outputs_of(math.inf)

    def outputs_of(self, epoch: int | float) -> set[Output]:
        """Outputs needed in an epoch: Hessians only if their weight is positive."""
        needed: dict[Term, Output] = {
            "forces": "forces",
            "stress": "stress",
            "hessian": "forces",
            "hessian_direct": "hessian_direct",
        }
        return {
            "energy",
            *(
                needed[name]
                for name in self.terms
                if name in needed and (name not in HESSIANS or self._on(name, epoch))
            ),
        }

    def needs_second_derivatives(
        self, labels: Labels, epoch: int | float = math.inf
    ) -> bool:
        """Whether the loss of a batch differentiates forces."""
        return labels.hessian is not None and self._on("hessian", epoch)

    def _on(self, name: Term, epoch: int | float) -> bool:
        return name in self.terms and self.terms[name].weight(epoch) > 0

    def penalties(
        self,
        prediction: Prediction,
        graph: AtomicGraph,
        labels: Labels,
        *,
        epoch: int | float = math.inf,
        key: Sequence[int] = (0,),
        create_graph: bool = True,
    ) -> dict[Term, PenaltySum]:
        """Unweighted sum and number of the penalties of every property.

        Args:
            prediction: Prediction of the batch; differentiable for differentiable sums.
            graph: Batch. If second derivatives are needed, its positions require
                gradients and the prediction is a function of them.
            labels: Labels of the batch, NaN where absent.
            epoch: Hessians with zero weight in this epoch are left out.
            key: Seed of the random vectors of Hessian-vector products.
            create_graph: Whether second derivatives must be differentiable.
        """
        found = {
            name: self._penalty(name, term, prediction, graph, labels)
            for name, term in self.terms.items()
            if name not in HESSIANS
        }
        for name in HESSIANS:
            if self._on(name, epoch):
                found[name] = _hessian_penalty(
                    name,
                    self.terms[name],
                    prediction,
                    graph,
                    labels,
                    key,
                    create_graph,
                )
        return found

    def combine(
        self, penalties: Mapping[Term, PenaltySum], epoch: int | float = math.inf
    ) -> Float[Tensor, ""]:
        """Weighted sum of mean penalties; weights of the last epoch by default."""
        return torch.stack(
            [
                self.terms[name].weight(epoch) * penalty.mean()
                for name, penalty in penalties.items()
            ]
        ).sum()

    @staticmethod
    def _penalty(
        name: Term,
        term: LossTerm,
        prediction: Prediction,
        graph: AtomicGraph,
        labels: Labels,
    ) -> PenaltySum:
        label = getattr(labels, name)
        predicted = getattr(prediction, name)
        if predicted is None:
            raise ValueError(f"the loss needs {name}, which was not predicted")
        residual = predicted - label
        if name == "energy" and term.per_atom:
            residual = residual / _atoms(graph)
        present = ~label.isnan()
        factors = _factors(name, term, graph, labels)
        if factors is not None:
            factors = factors.expand_as(label)
            present &= factors > 0
        penalty = PENALTIES[term.kind](residual[present], term.delta)
        if factors is not None:
            penalty = penalty * factors[present]
        return PenaltySum(penalty.sum(), penalty.numel())


def _factors(
    name: Term, term: LossTerm, graph: AtomicGraph, labels: Labels
) -> Float[Tensor, "*shape"] | None:
    """Label weights of a property, broadcastable to its labels."""
    weight = labels.weight(name)
    if name == "energy" or (weight is None and not term.elements):
        return weight
    if weight is not None and name == "stress":
        return weight[:, None, None]
    table = torch.ones(len(chemical_symbols), dtype=torch.float64)
    for number, factor in term.elements:
        table[number] = factor
    factors = table.to(graph.batch.device)[graph.atomic_numbers]
    return (factors if weight is None else factors * weight[graph.batch])[:, None]


def _hessian_penalty(
    name: Term,
    term: LossTerm,
    prediction: Prediction,
    graph: AtomicGraph,
    labels: Labels,
    key: Sequence[int],
    create_graph: bool,
) -> PenaltySum:
    """Estimated sum of penalties over all Hessian entries."""
    drawn = None
    if labels.hessian is not None:
        drawn = draw_vectors(
            term.mode,
            term.samples,
            graph,
            labels.hessian,
            (*key, HESSIANS.index(name)),
        )
    if drawn is None:
        return PenaltySum(prediction.energy.new_zeros(()), 0)
    products = _products(name, prediction, graph, drawn, create_graph)
    error, weight = residuals(drawn, products, graph.batch)
    if (factor := labels.weight("hessian")) is not None:
        # the axis of structures, or of their atoms
        weight = weight * (factor if drawn.within else factor[graph.batch])[:, None]
    total = (PENALTIES[term.kind](error, term.delta) * weight).sum()
    return PenaltySum(total, drawn.entries)


def _products(
    name: Term,
    prediction: Prediction,
    graph: AtomicGraph,
    drawn: HessianVectors,
    create_graph: bool,
) -> Float[Tensor, "vectors atoms 3"]:
    """Products of the predicted Hessians with the vectors."""
    if name == "hessian_direct":
        if prediction.hessian_direct is None:
            raise ValueError("the loss needs hessian_direct, which was not predicted")
        return prediction.hessian_direct.products(drawn.vectors)
    forces = prediction.forces
    if forces is None or not (forces.requires_grad and graph.positions.requires_grad):
        raise ValueError(
            "the loss needs second derivatives: predict forces with create_graph=True, "
            "from positions that require gradients"
        )
    return derivative_products(
        forces, graph.positions, drawn.vectors, create_graph=create_graph
    )


def add_penalties(
    batches: Sequence[Mapping[Term, PenaltySum]],
) -> dict[Term, PenaltySum]:
    """Sum of penalties over batches, as if they were one batch."""
    total: dict[Term, PenaltySum] = {}
    for penalties in batches:
        for name, new in penalties.items():
            old = total.get(name)
            total[name] = (
                new
                if old is None
                else PenaltySum(old.total + new.total, old.count + new.count)
            )
    return total


def _atoms(graph: AtomicGraph) -> Float[Tensor, " graphs"]:
    ones = torch.ones(graph.num_atoms, dtype=torch.float64, device=graph.batch.device)
    return scatter_sum(ones, graph.batch, graph.num_graphs).clamp(min=1)
