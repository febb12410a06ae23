"""Layout of features: component m of degree l has index l*l + l + m."""

import torch
from jaxtyping import Int
from torch import Tensor


def num_components(lmax: int) -> int:
    """Number of components of degrees 0 to `lmax`: ``(lmax + 1)**2``."""
    return (lmax + 1) ** 2


def degree_slice(degree: int) -> slice:
    """Slice of the ``2 * degree + 1`` components of a degree."""
    return slice(degree**2, (degree + 1) ** 2)


def degree_of_component(lmax: int) -> Int[Tensor, " sph"]:
    """Degree of every component, such as ``[0, 1, 1, 1]`` for `lmax` 1."""
    degrees = torch.arange(lmax + 1, device="cpu")
    return degrees.repeat_interleave(2 * degrees + 1)
