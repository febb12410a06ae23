"""Protocol of models for functions of second derivatives."""

from collections.abc import Collection
from typing import Protocol, runtime_checkable

import torch

from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.prediction import Output, Prediction


@runtime_checkable
class EnergyModel(Protocol):
    """A potential-energy surface: a `Potential`, or an analytic model.

    Energies must depend on ``graph.positions`` and ``graph.cell`` differentiably, for
    example through `equipot.graph.atomic_graph.edge_vectors`.
    """

    @property
    def cutoff(self) -> float:
        """Cutoff of the edges in Å."""

    @property
    def num_layers(self) -> int:
        """Receptive field of an atomic energy, in edges.

        ``energies[i]`` may depend only on edges whose receivers are fewer than this
        number of edges away from i. It is 1 for sums over pairs and triples assigned to
        the receiver of all their edges.
        """

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point precision of the model."""

    @property
    def device(self) -> torch.device:
        """Device of the model."""

    def __call__(
        self, graph: AtomicGraph, outputs: Collection[Output], *, create_graph: bool
    ) -> Prediction:
        """Energy, atomic energies and forces; differentiable with `create_graph`."""
