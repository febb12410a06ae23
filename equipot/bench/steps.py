"""Timed steps: a convolution, its derivatives, and a training step on forces.

All three take the operands of a convolution, the second of which describes the
geometry: directions of the edges or their harmonics.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from equipot.graph.connectivity import Connectivity
from equipot.tensor_products import TensorProduct

Convolution = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From features, geometry and weights to messages."""


class Operands(NamedTuple):
    """Operands of a convolution, and a cotangent of its result."""

    x: Float[Tensor, "..."]
    """Features of the nodes."""
    geometry: Float[Tensor, "edges _"]
    """Directions or harmonics of the edges."""
    weights: Float[Tensor, "edges ..."]
    """Weights of the edges."""
    cotangent: Float[Tensor, "..."]
    """Factors of the messages in an energy."""


def bind(product: TensorProduct[Any], connectivity: Connectivity) -> Convolution:
    """A backend as a function of directions; it prepares the edges in every call."""

    def convolution(x: Tensor, directions: Tensor, weights: Tensor) -> Tensor:
        return product(x, product.prepare(directions, connectivity), weights)

    return convolution


def forward(convolution: Convolution, operands: Operands) -> Tensor:
    """Messages, without a graph to differentiate."""
    with torch.no_grad():
        return convolution(*operands[:3])


def forward_backward(
    convolution: Convolution, operands: Operands
) -> tuple[Tensor, ...]:
    """Derivatives by features, geometry and weights."""
    leaves = [t.detach().requires_grad_() for t in operands[:3]]
    return torch.autograd.grad(convolution(*leaves), leaves, operands.cotangent)


def double_backward(convolution: Convolution, operands: Operands) -> tuple[Tensor, ...]:
    """Derivatives of the squared derivatives by features and geometry.

    This is a training step on forces: forces are derivatives of the energy, and the
    loss is differentiated by all operands.
    """
    leaves = [t.detach().requires_grad_() for t in operands[:3]]
    forces = torch.autograd.grad(
        convolution(*leaves), leaves[:2], operands.cotangent, create_graph=True
    )
    loss = torch.stack([force.pow(2).sum() for force in forces]).sum()
    return torch.autograd.grad(loss, leaves, materialize_grads=True)


STEPS: Final[Mapping[str, Callable[[Convolution, Operands], object]]] = {
    "forward": forward,
    "forward + backward": forward_backward,
    "double backward": double_backward,
}
"""Steps by name."""
