"""The interface of architectures: features of atoms from elements and edges."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from equipot.graph.edge_pairs import EdgePairs


@dataclass(frozen=True)
class EdgeGeometry:
    """Directed edges in the precision of the network; there may be none."""

    index: Int[Tensor, "2 edges"]
    """Senders and receivers."""
    directions: Float[Tensor, "edges 3"]
    """Unit vectors from receiver to sender."""
    lengths: Float[Tensor, "pairs 1"]
    """In Å, positive; one for both edges of a pair."""
    pairs: EdgePairs
    """Which edges share a length; ``pairs.expand`` gives values of edges."""
    tabulate: bool = False
    """Whether radial functions may be tabulated with their derivatives, which pays if
    features are differentiated twice for many vectors. They cannot be differentiated by
    weights then."""


class Backbone(nn.Module, ABC):
    """Features of atoms after each message-passing step; subclasses are architectures.

    Laws, tested for each entry of `equipot.models.architectures.ARCHITECTURES`:

    - component 0 of the features holds scalars, which do not change under translations
      and the rotations (and reflections) of `symmetry`; further components are
      harmonics in the layout of `equipot.so3`;
    - features do not depend on the order of atoms and edges beyond rounding;
    - an atom without edges has features, too;
    - features are three times differentiable by positions, and their first two
      derivatives are continuous where an edge crosses the cutoff, unless
      `hessian_jumps` states otherwise;
    - constants are `Constant` or non-persistent buffers, weights are parameters;
    - tensor products and node products are submodules that `Products` made: they can
      be replaced by those of another backend.

    Args:
        cutoff: Radius in Å at which all edges have faded out.
        channels: Number of scalars of an atom after each layer.
        lmax: Highest degree of the features after each layer.
        symmetry: Group that the network commutes with.

    Raises:
        ValueError: If there is no layer, or `channels` and `lmax` differ in length.
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
                "a backbone needs channels and a degree for each of one or more "
                f"layers, got {len(channels)} and {len(lmax)}"
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
        """Message-passing steps: features depend on atoms this many edges away."""
        return len(self.lmax)

    @abstractmethod
    def forward(
        self, elements: Int[Tensor, " nodes"], edges: EdgeGeometry
    ) -> list[Float[Tensor, "nodes _sph _channels"]]:
        """Features after each layer.

        Args:
            elements: Index of the chemical element of each atom.
            edges: All edges closer than the cutoff.
        """
