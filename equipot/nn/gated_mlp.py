"""An MLP whose output is multiplied by a logistic function of another MLP."""

from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn


@final
class GatedMLP(nn.Module):
    r"""Product of an MLP and the logistic function of another one of the same widths.

    .. math:: y = f(x) \, \sigma(g(x))

    Args:
        widths: Of the input, of hidden layers, and of the output.
        activation: Between linear maps.

    Source:
        C. Chen, S. P. Ong, Nat. Comput. Sci. 2, 718 (2022).
    """

    def __init__(
        self, widths: Sequence[int], activation: type[nn.Module] = nn.SiLU
    ) -> None:
        super().__init__()
        self.value = mlp(widths, activation)
        self.gate = mlp(widths, activation)

    def forward(self, x: Float[Tensor, "rows _in"]) -> Float[Tensor, "rows _out"]:
        """Apply to every row."""
        value: Tensor = self.value(x)
        return value * torch.sigmoid(self.gate(x))


def mlp(
    widths: Sequence[int],
    activation: type[nn.Module] = nn.SiLU,
    *,
    bias: bool = True,
) -> nn.Sequential:
    """Linear maps with a nonlinearity between them.

    Args:
        widths: Of the input, of hidden layers, and of the output.
        activation: The nonlinearity.
        bias: Whether the last map has biases.
    """
    *hidden, last = pairwise(widths)
    parts: list[nn.Module] = []
    for width_in, width_out in hidden:
        parts += [nn.Linear(width_in, width_out), activation()]
    return nn.Sequential(*parts, nn.Linear(*last, bias=bias))
