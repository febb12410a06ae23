"""Forces that are differentiable by positions, with constant weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor, nn

from equipot.graph.atomic_graph import AtomicGraph
from equipot.models.energy_model import EnergyModel


def differentiable_forces(
    model: EnergyModel, graph: AtomicGraph
) -> tuple[Float[Tensor, "atoms 3"], Float[Tensor, "atoms 3"]]:
    """Forces and the leaf tensor of positions that they depend on.

    Args:
        model: Model in any mode; its weights are constants.
        graph: Graph on the device of the model.

    Returns:
        forces: Forces in eV/Å, differentiable by `positions`.
        positions: Leaf tensor of positions in Å.

    Raises:
        ValueError: If the model returned no forces.
    """
    positions = graph.positions.detach().requires_grad_()
    with constant_weights(model):
        prediction = model(
            replace(graph, positions=positions), {"energy", "forces"}, create_graph=True
        )
    if prediction.forces is None:
        raise ValueError(
            f"{type(model).__name__} returned no forces, although they are among "
            "`outputs`; a model must return all requested outputs"
        )
    return prediction.forces, positions


@contextmanager
def constant_weights(model: object) -> Iterator[None]:
    """Context manager in which weights do not require gradients.

    Args:
        model: Any object; no effect unless it is a module.
    """
    weights = [
        weight
        for weight in (model.parameters() if isinstance(model, nn.Module) else ())
        if weight.requires_grad
    ]
    for weight in weights:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in weights:
            weight.requires_grad_(True)
