"""Evaluation of potentials with constant weights, compiled where possible."""

import warnings
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar, final

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.frozen import FrozenPotential, InaccurateTableError, unsupported
from equipot.graph.atomic_graph import AtomicGraph
from equipot.hessians import hessian, hessian_vector_products
from equipot.models.committee import CommitteePrediction
from equipot.models.potential import Potential
from equipot.models.prediction import Output, Prediction

Result = TypeVar("Result")


@final
class Evaluation:
    """Energies and derivatives of a potential, or means over a committee.

    A potential whose functions cannot be tabulated is used as it is; methods raise
    `InaccurateTableError` for it only if it must be frozen.

    Args:
        potentials: One potential, or the members of a committee.
        frozen: Whether to evaluate `equipot.frozen.FrozenPotential`; None for those
            that can be frozen.

    Raises:
        UnsupportedModelError: If `frozen` is true and a potential cannot be frozen.
    """

    def __init__(self, potentials: Sequence[Potential], frozen: bool | None) -> None:
        self._potentials = list(potentials)
        self._required = frozen is True
        reasons = [unsupported(potential) for potential in potentials]
        self.not_frozen: str | None = next(filter(None, reasons), None)
        """Reason why the potentials are evaluated as they are; None if frozen."""
        if frozen is False:
            self.not_frozen = "it was requested"
        self._models: list[Potential | FrozenPotential] = list(potentials)
        if frozen or self.not_frozen is None:
            self._models = [FrozenPotential(potential) for potential in potentials]

    def __call__(
        self, graph: AtomicGraph, outputs: Collection[Output]
    ) -> Prediction | CommitteePrediction:
        """Predict."""
        members = self._each(lambda m: m(graph, outputs, create_graph=False))
        return members[0] if len(members) == 1 else CommitteePrediction.of(members)

    def hessian(
        self, graph: AtomicGraph, *, atoms: Sequence[int] | None = None
    ) -> Float[Tensor, "rows 3 atoms 3"]:
        """Hessian, or rows of it; see `equipot.hessians.hessian`."""
        return _mean(self._each(lambda m: hessian(m, graph, atoms=atoms)))

    def hessian_products(
        self, graph: AtomicGraph, directions: Float[Tensor, "directions atoms 3"]
    ) -> Float[Tensor, "directions atoms 3"]:
        """Products of the Hessian; see `equipot.hessians.hessian_vector_products`."""
        return _mean(
            self._each(lambda m: hessian_vector_products(m, graph, directions))
        )

    def _each(
        self, evaluate: Callable[[Potential | FrozenPotential], Result]
    ) -> list[Result]:
        """Results of all members."""
        try:
            return [evaluate(model) for model in self._models]
        except InaccurateTableError as error:
            if self._required:
                raise
            warnings.warn(f"{error}: the model is not frozen", stacklevel=2)
            self.not_frozen = str(error)
            self._models = list(self._potentials)
            return [evaluate(model) for model in self._models]


def _mean(members: Sequence[Tensor]) -> Tensor:
    return members[0] if len(members) == 1 else torch.stack(list(members)).mean(dim=0)
