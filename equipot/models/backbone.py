"""Abstract base class of architectures: features of atoms from elements and edges."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.graph.edge_pairs import EdgePairs


@dataclass(frozen=True)
class EdgeGeometry:
    """Directed edges in the precision of the network; may be empty."""

    index: Int[Tensor, "2 edges"]
    """Senders and receivers."""
    directions: Float[Tensor, "edges 3"]
    """Unit vectors from receiver to sender."""
    lengths: Float[Tensor, "pairs 1"]
    """Lengths in Å, positive; one for both edges of a pair."""
    pairs: EdgePairs
    """Pairs of edges of equal length; ``pairs.expand`` maps values to edges."""
    tabulate: bool = False
    """Whether radial functions may be tabulated with their derivatives. This is faster
    if features are differentiated twice for many vectors, but excludes gradients of
    weights."""


class Backbone(nn.Module, ABC):
    """Base class of architectures: features of atoms after each message-passing step.

    Requirements, tested for all of `equipot.models.architectures.ARCHITECTURES`:

    - component 0 of the features is scalar, invariant under translations and the
      rotations (and reflections) of `symmetry`; further components are harmonics in the
      layout of `equipot.so3`;
    - features are independent of the order of atoms and edges up to rounding errors;
    - atoms without edges have features, too;
    - features are three times differentiable by positions, and their first two
      derivatives are continuous where an edge crosses the cutoff, unless
      `hessian_jumps` states otherwise;
    - constants are `Constant` or non-persistent buffers, weights are parameters;
    - tensor products and node products are submodules created by `Products`, so they
      can be replaced by those of another backend.

    Args:
        cutoff: Cutoff of the edges in Å.
        channels: Number of scalars per atom after each layer.
        lmax: Highest degree of the features after each layer.
        symmetry: Symmetry group of the network.

    Raises:
        ValueError: If there are no layers, or `channels` and `lmax` differ in length.
    """

    def __init__(
        self,
        cutoff: float,
        channels: Sequence[int],
        lmax: Sequence[int],
        symmetry: Literal["O(3)", "SO(3)"] = "O(3)",
    ) -> None:
        super().__init__()
        if not lmax or len(channels) != len(lmax):
            raise ValueError(
                "a backbone needs one number of channels and one degree per layer, for "
                f"at least one layer, got {len(channels)} and {len(lmax)}"
            )
        self.cutoff = cutoff
        self.channels = tuple(channels)
        self.lmax = tuple(lmax)
        self.symmetry: Literal["O(3)", "SO(3)"] = symmetry
        self.hessian_jumps: tuple[float, ...] = ()
        """Lengths of edges in Å at which second derivatives jump; none in new models,
        where they are continuous, but in some published ones."""

    @property
    def num_layers(self) -> int:
        """Number of message-passing steps, the receptive field in edges."""
        return len(self.lmax)

    @abstractmethod
    def forward(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> list[Float[Tensor, "nodes _sph _channels"]]:
        """Features after each layer.

        Args:
            elements: Element index of each atom.
            edges: All edges within the cutoff.
        """
