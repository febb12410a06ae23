"""An optimizer step, and evaluation on a set."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from equipot.data.labels import Example, Labels, collate_examples
from equipot.evaluation.metrics import ErrorAccumulator
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.prediction import Output, Prediction
from equipot.training.loss import (
    EnergyForcesStressLoss,
    PenaltySum,
    Term,
    add_penalties,
)


class NonFiniteError(ValueError):
    """A loss or gradient that is not finite."""


@dataclass(frozen=True)
class Batch:
    """Batch of structures, and the examples that it was made from."""

    graph: AtomicGraph
    labels: Labels
    examples: Sequence[Example]

    def to(self, device: torch.device | str) -> "Batch":
        """Copy on another device."""
        return Batch(self.graph.to(device), self.labels.to(device), self.examples)

    @property
    def config_types(self) -> list[str]:
        """Configuration type of every structure."""
        return [example.config_type for example in self.examples]


def make_batch(examples: Sequence[Example]) -> Batch:
    """Collate structures.

    Positions stay float64: the potential takes differences before it rounds.
    """
    return Batch(*collate_examples(examples), examples)


@dataclass(frozen=True)
class StepResult:
    """Prediction, loss and gradient norm of a step, before the weights changed."""

    prediction: Prediction
    penalties: dict[Term, PenaltySum]
    loss: float
    gradient_norm: float


def train_step(
    model: nn.Module,
    optimizer: Optimizer,
    loss: EnergyForcesStressLoss,
    batch: Batch,
    *,
    epoch: int,
    gradient_clip: float | None,
    key: Sequence[int] = (0,),
) -> StepResult:
    """Predict, differentiate the loss, and update the weights.

    Args:
        model: Potential in training mode.
        optimizer: Optimizer of its weights, with the learning rate of this step set.
        loss: Loss function.
        batch: Structures and labels.
        epoch: Epoch of the loss weights.
        gradient_clip: Maximum norm of the gradient.
        key: Seed of the random vectors of Hessian-vector products.

    Raises:
        NonFiniteError: If the loss or its gradient is not finite; the weights are
            unchanged.
    """
    graph = _differentiable(batch, loss, epoch)
    prediction = model(graph, outputs=loss.outputs_of(epoch))
    penalties = loss.penalties(prediction, graph, batch.labels, epoch=epoch, key=key)
    value = loss.combine(penalties, epoch)
    if not math.isfinite(number := value.item()):
        raise NonFiniteError(f"the loss is {number}")
    optimizer.zero_grad(set_to_none=True)
    value.backward()
    norm = _clip(model, gradient_clip)
    if not math.isfinite(norm):
        raise NonFiniteError(
            f"the loss is {number} but the norm of its gradient {norm}"
        )
    optimizer.step()
    return StepResult(prediction, penalties, number, norm)


def _differentiable(
    batch: Batch, loss: EnergyForcesStressLoss, epoch: int | float = math.inf
) -> AtomicGraph:
    """Graph with positions that require gradients, if forces are differentiated."""
    if not loss.needs_second_derivatives(batch.labels, epoch):
        return batch.graph
    positions = batch.graph.positions.detach().requires_grad_()
    return replace(batch.graph, positions=positions)


def _clip(model: nn.Module, gradient_clip: float | None) -> float:
    parameters = list(model.parameters())
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    if gradient_clip is not None:
        torch.nn.utils.clip_grads_with_norm_(parameters, gradient_clip, norm)
    return float(norm)


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    outputs: set[Output],
    errors: ErrorAccumulator,
    loss: EnergyForcesStressLoss | None = None,
) -> tuple[float | None, dict[str, Any]]:
    """Errors of a model on a set, and its loss with the weights of the last epoch.

    The loss always uses the last weights and the same random vectors for Hessians, so
    that losses of different epochs are comparable; the set counts as one batch.

    Args:
        model: Potential; its training mode is restored.
        batches: Batches of the set, on the device of the model.
        outputs: Outputs to predict.
        errors: Empty accumulator.
        loss: Loss function; None to compute errors only.

    Returns:
        The loss, and the result of `ErrorAccumulator.compute`.
    """
    training = model.training
    model.eval()
    penalties = []
    for n, batch in enumerate(batches):
        wanted = outputs if loss is None else outputs | loss.outputs
        graph = batch.graph if loss is None else _differentiable(batch, loss)
        if graph.positions.requires_grad:
            prediction = model(graph, outputs=wanted, create_graph=True)
        else:
            prediction = model(graph, outputs=wanted)
        errors.update(prediction, batch.graph, batch.labels, batch.config_types)
        if loss is not None:
            found = loss.penalties(
                prediction, graph, batch.labels, key=(n,), create_graph=False
            )
            penalties.append(
                {k: PenaltySum(p.total.detach(), p.count) for k, p in found.items()}
            )
    model.train(training)
    if loss is None:
        return None, errors.compute()
    return float(loss.combine(add_penalties(penalties))), errors.compute()


def labeled_outputs(examples: Sequence[Example]) -> set[Output]:
    """Properties with at least one label."""
    names: tuple[Output, ...] = ("energy", "forces", "stress")
    return {
        name
        for name in names
        if any(not bool(getattr(e.labels, name).isnan().all()) for e in examples)
    }
