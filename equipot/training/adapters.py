"""Low-rank adapters (LoRA): fine-tuning of a few parameters per matrix of weights.

An adapter is a parametrization of `torch.nn.utils.parametrize`: the module that owns a
weight sees the adapted one, so that architectures and backends do not depend on
adapters. Weights are matrices between channels, one for each degree, path or element:
whatever their values, the potential is equivariant.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from equipot.models.potential import Potential

_PARAMETER: Final = re.compile(
    r"\.parametrizations\.([^.]+)\.(?:original|0\.left|0\.right)$"
)


@final
class LowRank(nn.Module):
    r"""Adapter of a matrix of weights, or of a stack of matrices.

    .. math:: W' = W + s \, L R

    L starts at zero and R at random numbers of variance 1 / rank; s is the root mean
    square of W at the start. A change of L by :math:`\epsilon` thus changes the weights
    by about :math:`\epsilon` of their own scale.

    Args:
        weight: W at the start.
        rank: Number of columns of L and of rows of R.
        generator: Of the random numbers.

    Source:
        E. J. Hu et al., arXiv:2106.09685, section 4.1.
    """

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        *stack, rows, columns = weight.shape
        right = torch.randn(*stack, rank, columns, generator=generator) / rank**0.5
        self.scale = root_mean_square(weight)
        self.left = nn.Parameter(weight.new_zeros(*stack, rows, rank))
        self.right = nn.Parameter(right.to(weight))

    def forward(
        self, weight: Float[Tensor, "*stack rows columns"]
    ) -> Float[Tensor, "*stack rows columns"]:
        """Adapted weights."""
        return weight + self.scale * (self.left @ self.right)


def add_adapters(
    potential: Potential, rank: int, parts: Sequence[str], seed: int
) -> list[str]:
    """Train adapters instead of weights; predictions stay as they are.

    Vectors, and matrices that are no larger than their adapters, are trained
    themselves. Weights that are already frozen stay frozen.

    Args:
        potential: To change.
        rank: Rank of the adapters.
        parts: Names, or patterns such as ``backbone.*``, of weights to train; others
            are frozen.
        seed: Of random numbers.

    Returns:
        Names of the weights with an adapter.
    """
    generator = torch.Generator().manual_seed(seed)
    adapted = []
    for name, weight in list(potential.named_parameters()):
        if not any(fnmatchcase(name, part) for part in parts):
            weight.requires_grad_(False)
        if not weight.requires_grad or weight.ndim < 2:
            continue
        rows, columns = weight.shape[-2:]
        if rank * (rows + columns) >= rows * columns:
            continue
        owner, _, key = name.rpartition(".")
        adapter = LowRank(weight.detach(), rank, generator)
        module = potential.get_submodule(owner)
        parametrize.register_parametrization(module, key, adapter)
        weight.requires_grad_(False)
        adapted.append(name)
    return adapted


def merged_weights(potential: Potential) -> dict[str, Tensor]:
    """State of the potential with adapted weights in place of weights and adapters.

    Args:
        potential: Potential with or without adapters.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in potential.state_dict().items():
        if (weight := weight_name(name)) == name:
            state[name] = tensor
        elif weight not in state:
            owner, _, key = weight.rpartition(".")
            adapted = getattr(potential.get_submodule(owner), key)
            state[weight] = adapted.detach()
    return state


def weight_name(name: str) -> str:
    """Name of a weight, from that of a parameter of its adapter.

    Args:
        name: Name of any parameter; one without an adapter is returned as it is.
    """
    return _PARAMETER.sub(r".\1", name)


def count_parameters(potential: Potential) -> tuple[int, int]:
    """Number of parameters without those of adapters, and of those that are trained."""
    total = trained = 0
    for name, parameter in potential.named_parameters():
        if name.endswith(".original") or name == weight_name(name):
            total += parameter.numel()
        if parameter.requires_grad:
            trained += parameter.numel()
    return total, trained


def root_mean_square(weight: Tensor) -> float:
    """Root mean square of the elements, the scale of a weight."""
    return float(weight.detach().double().square().mean()) ** 0.5
