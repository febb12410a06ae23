"""What training minimizes: weighted errors of energies, forces and stress."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.data.labels import Labels
from equipot.graph import AtomicGraph
from equipot.models.prediction import Output, Prediction
from equipot.scatter import scatter_sum

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
"""Penalty of a residual; the second argument is the delta of the Huber loss."""


@dataclass(frozen=True)
class LossTerm:
    """How one property enters the loss.

    Args:
        weights: Pairs (first epoch, weight), epochs ascending from 0.
        kind: Name of the penalty.
        delta: Where the Huber loss turns linear, in the unit of the property.
        per_atom: Divide residuals of energies by the number of atoms.
    """

    weights: tuple[tuple[int, float], ...]
    kind: Kind = "mse"
    delta: float = 0.01
    per_atom: bool = True

    def __post_init__(self) -> None:
        if self.kind not in PENALTIES:
            raise ValueError(f"kind must be one of {get_args(Kind)}, got {self.kind!r}")
        if not self.weights or self.weights[0][0] != 0:
            raise ValueError(f"weights must start at epoch 0, got {self.weights}")

    def weight(self, epoch: int | float) -> float:
        """Weight in an epoch, counted from 0; infinity gives the last one."""
        return [weight for start, weight in self.weights if start <= epoch][-1]

    @property
    def learned(self) -> bool:
        """Whether the term ever has a weight."""
        return any(weight > 0 for _, weight in self.weights)


@dataclass
class PenaltySum:
    """Penalties of the present labels of one property."""

    total: Float[Tensor, ""]
    count: int

    def mean(self) -> Float[Tensor, ""]:
        """Mean over the labels; zero if there are none."""
        return self.total / max(self.count, 1)


class EnergyForcesStressLoss:
    r"""Weighted sum over properties of the mean penalty of their labels.

    .. math:: L = \sum_k \frac{w_k}{N_k} \sum_{n=1}^{N_k} \ell_k(\hat y_{kn} - y_{kn})

    over the :math:`N_k` labels of property k in the batch: energies per atom in eV,
    force components in eV/Å and the nine components of stress in eV/Å^3, so that
    off-diagonal ones count twice and the square is the Frobenius norm, which does not
    depend on the axes. Labels that are absent (NaN) are left out of both sums. The
    penalty :math:`\ell` is the square, the absolute value, or Huber's.

    Args:
        terms: Terms by property.
    """

    def __init__(self, terms: Mapping[Output, LossTerm]) -> None:
        self.terms = {name: term for name, term in terms.items() if term.learned}
        if not self.terms:
            raise ValueError("the loss has no term with a positive weight")

    @property
    def outputs(self) -> set[Output]:
        """What a potential must predict; the energy is always among it."""
        return {"energy", *self.terms}

    def penalties(
        self, prediction: Prediction, graph: AtomicGraph, labels: Labels
    ) -> dict[Output, PenaltySum]:
        """Sum and number of the penalties of every property, without weights.

        Args:
            prediction: Of the batch; differentiable if the sums shall be.
            graph: The batch.
            labels: Of the batch, NaN where absent.
        """
        return {
            name: self._penalty(name, term, prediction, graph, labels)
            for name, term in self.terms.items()
        }

    def combine(
        self, penalties: Mapping[Output, PenaltySum], epoch: int | float = math.inf
    ) -> Float[Tensor, ""]:
        """Loss from penalties, with the weights of an epoch; the last by default."""
        return torch.stack(
            [
                self.terms[name].weight(epoch) * penalty.mean()
                for name, penalty in penalties.items()
            ]
        ).sum()

    @staticmethod
    def _penalty(
        name: Output,
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
        residual = residual[~label.isnan()]
        penalty = PENALTIES[term.kind](residual, term.delta)
        return PenaltySum(penalty.sum(), penalty.numel())


def add_penalties(
    batches: Sequence[Mapping[Output, PenaltySum]],
) -> dict[Output, PenaltySum]:
    """Penalties of several batches together: their mean is that of one large batch."""
    total: dict[Output, PenaltySum] = {}
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
