"""Wrapper of the verified model: supported outputs, and errors."""

from collections.abc import Collection
from typing import Final, get_args

import torch
from ase import Atoms

from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.energy_model import EnergyModel
from equipot.models.prediction import Output, Prediction
from equipot.neighbors import build_graph

OPTIONAL: Final[tuple[Output, ...]] = ("stress", "features", "hessian")
"""Outputs that a simple analytic model need not support."""
RAISED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""Errors of a broken model, which fail a check instead of the verification."""


class ModelFailureError(Exception):
    """The model raised an error, or omitted an output that it supports."""


class Subject:
    """Wrapper of a model that separates its errors from those of the caller.

    Args:
        model: Model to verify.
        element: Atomic number of a supported element.
    """

    def __init__(self, model: EnergyModel, element: int) -> None:
        self.model = model
        self.cutoff, self.num_layers = model.cutoff, model.num_layers
        self.dtype, self.device = model.dtype, model.device
        self.calls = 0
        self.gives: frozenset[Output] = frozenset({"energy", "forces"})
        self.gives |= {name for name in OPTIONAL if self._has(name, element)}

    def __call__(
        self, graph: AtomicGraph, outputs: Collection[Output], *, create_graph: bool
    ) -> Prediction:
        """Prediction of the model.

        Raises:
            ModelFailureError: If it raises an error, or omits an output.
        """
        self.calls += 1
        try:
            found = self.model(graph, set(outputs), create_graph=create_graph)
        except RAISED as error:
            raise ModelFailureError(
                f"it raised {type(error).__name__} for {graph.num_graphs} structures "
                f"of {graph.num_atoms} atoms and {graph.num_edges} edges: {error}"
            ) from error
        for name in sorted(self.gives & set(outputs)):
            if getattr(found, name) is None:
                raise ModelFailureError(
                    f"it returned no {name} although {', '.join(sorted(outputs))} were "
                    f"requested, for {graph.num_atoms} atoms"
                )
        return found

    def _has(self, name: Output, element: int) -> bool:
        """Whether an output is supported for two atoms in a cell; errors count as yes.

        Such errors are raised again where the output is checked.
        """
        edge = 0.7 * self.cutoff
        cell = [edge, 1.1 * edge, 1.2 * edge]
        positions = [[0.0, 0.0, 0.0], [0.4 * edge, 0.5 * edge, 0.6 * edge]]
        atoms = Atoms([element] * 2, positions, cell=cell, pbc=True)
        graph = build_graph(atoms, self.cutoff).to(self.device)
        try:
            found = self.model(graph, {"energy", name}, create_graph=False)
        except RAISED:
            return True
        return getattr(found, name) is not None


def abilities(model: EnergyModel) -> Collection[Output]:
    """Outputs found by `Subject`, or otherwise those that every model supports."""
    return model.gives if isinstance(model, Subject) else ("energy", "forces", "stress")


def detached(found: Prediction) -> dict[str, torch.Tensor]:
    """Values of a prediction by name, in double precision on the CPU."""
    values = {}
    for name in ("energies", *get_args(Output)):
        value = getattr(found, name)
        if isinstance(value, torch.Tensor):
            values[name] = value.detach().double().cpu()
    return values
