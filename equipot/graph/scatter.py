"""Sums over the members of groups, such as edges of an atom or atoms of a structure."""

from jaxtyping import Float, Int
from torch import Tensor


def scatter_sum(
    values: Float[Tensor, "members *shape"],
    index: Int[Tensor, " members"],
    num_groups: int,
) -> Float[Tensor, "groups *shape"]:
    """Sum `values` over members with the same index.

    Args:
        values: One row per member.
        index: Group of each member, in ``[0, num_groups)``.
        num_groups: Number of rows of the result; empty groups are zero.

    Returns:
        The sums, deterministic on CPU.
    """
    out = values.new_zeros(num_groups, *values.shape[1:])
    return out.index_add(0, index, values)
