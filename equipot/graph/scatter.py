"""Sums over the members of a group: edges of an atom, atoms of a structure."""

from jaxtyping import Float, Int
from torch import Tensor


def scatter_sum(
    values: Float[Tensor, "members *shape"],
    index: Int[Tensor, " members"],
    num_groups: int,
) -> Float[Tensor, "groups *shape"]:
    """Sum `values` over the members that share an index.

    Args:
        values: One row per member.
        index: Group of every member, each in ``[0, num_groups)``.
        num_groups: Rows of the result; a group without members gets zero.

    Returns:
        The sums, deterministic on a CPU.
    """
    out = values.new_zeros(num_groups, *values.shape[1:])
    return out.index_add(0, index, values)
