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
"""What a few lines around a formula need not give."""
RAISED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a broken model may raise: the model fails, and not its verification."""


class ModelFailureError(Exception):
    """The model raised an error, or did not give what it gives elsewhere."""


class Subject:
    """A model with errors distinguished from those of the caller.

    Args:
        model: To be verified.
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
        """What the model predicts.

        Raises:
            ModelFailureError: If it raises an error, or leaves something out.
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
                    f"it was asked for {', '.join(sorted(outputs))} and returned no "
                    f"{name}, for {graph.num_atoms} atoms"
                )
        return found

    def _has(self, name: Output, element: int) -> bool:
        """Whether it gives something for two atoms in a cell; errors mean that it does.

        What it raises here it raises again where that is checked.
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
    """What a model gives, as far as `Subject` found out; else what each must give."""
    return model.gives if isinstance(model, Subject) else ("energy", "forces", "stress")


def detached(found: Prediction) -> dict[str, torch.Tensor]:
    """Values of a prediction by name, in double precision on the CPU."""
    values = {}
    for name in ("energies", *get_args(Output)):
        value = getattr(found, name)
        if isinstance(value, torch.Tensor):
            values[name] = value.detach().double().cpu()
    return values
