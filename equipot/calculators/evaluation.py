"""Evaluation of potentials with constant weights, compiled where possible."""

import warnings
from collections.abc import Collection, Sequence
from typing import final

from equipot.frozen import FrozenPotential, InaccurateTableError, unsupported
from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.committee import CommitteePrediction
from equipot.models.potential import Potential
from equipot.models.prediction import Output, Prediction


@final
class Evaluation:
    """Energies and first derivatives of a potential, or means over a committee.

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
        """Predict; a potential whose functions cannot be tabulated is used as it is.

        Raises:
            InaccurateTableError: For such a potential if it must be frozen.
        """
        try:
            return self._predict(graph, outputs)
        except InaccurateTableError as error:
            if self._required:
                raise
            warnings.warn(f"{error}: the model is not frozen", stacklevel=2)
            self.not_frozen = str(error)
            self._models = list(self._potentials)
            return self._predict(graph, outputs)

    def _predict(
        self, graph: AtomicGraph, outputs: Collection[Output]
    ) -> Prediction | CommitteePrediction:
        members = [model(graph, outputs, create_graph=False) for model in self._models]
        return members[0] if len(members) == 1 else CommitteePrediction.of(members)
