"""Forces that can be differentiated once more by positions, and by nothing else."""

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
    """Forces and the positions that they are a function of.

    Args:
        model: In any mode; its weights are constants of the result.
        graph: On the device of the model.

    Returns:
        forces: In eV/Å.
        positions: A leaf that autograd can differentiate the forces by, in Å.

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
            f"{type(model).__name__} was asked for forces and returned none; a model "
            "must return what `outputs` asks for"
        )
    return prediction.forces, positions


@contextmanager
def constant_weights(model: object) -> Iterator[None]:
    """Within it, nothing is recorded that only gradients of weights would need.

    Args:
        model: Any object; it matters only if it is a module.
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
