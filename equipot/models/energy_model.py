"""What functions of second derivatives need to know about a model."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import torch

from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.prediction import Output, Prediction


@runtime_checkable
class EnergyModel(Protocol):
    """A potential-energy surface: a `Potential`, or a few lines around a formula.

    Energies must depend on ``graph.positions`` and ``graph.cell`` through
    `equipot.graph.atomic_graph.edge_vectors` or in another way that autograd sees.
    """

    @property
    def cutoff(self) -> float:
        """Radius in Å of the edges that it needs."""

    @property
    def num_layers(self) -> int:
        """Edges between an atom and the farthest one that its energy depends on.

        ``energies[i]`` may depend only on edges whose receivers are fewer than this
        many edges away from i. It is 1 for sums over pairs and triples that are
        assigned to an atom that all their edges arrive at.
        """

    @property
    def dtype(self) -> torch.dtype:
        """Arithmetic of the model."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    def __call__(
        self, graph: AtomicGraph, outputs: Collection[Output], *, create_graph: bool
    ) -> Prediction:
        """Energy, energies of atoms and forces; differentiable with `create_graph`."""
