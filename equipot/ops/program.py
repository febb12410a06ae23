r"""Programs: frozen models as lists of instructions that one compiled call evaluates.

A program acts on buffers of node features, rows of channels that are padded with zeros
to whole cache lines. Its instructions are evaluated in order and differentiated in
reverse order, without autograd: the results of a call are atomic energies and, on
demand, forces and atomic virials. Tangents of both sweeps give products of the Hessian.

====================  ==================================================================
`embed`               a row of a table, chosen by the element of the node
`linear`              a matrix for each component of some degree, or one per element
`moments`             sums over the edges of functions of the length times harmonics
`convolve`            the convolution of `equipot.ops.convolution`, with path weights
                      from functions of the length that are evaluated inside
`contract`            the contraction of `equipot.ops.contraction`
`activate`, `gate`    nonlinearities
`normalize`           division by the root of a weighted sum of squares, of differences
                      from the mean on demand
`squares`             sum of the squares of the components of each channel
`accumulate`          addition of a buffer, times constants
`matrix_product`      products of the 3x3 matrices of two buffers, in both orders
`radial_sum`          sum over the edges of a function of the length
`divide`              division by one plus such a sum
`read`                a weighted sum of scalars, added to the energy of the node
====================  ==================================================================

Functions of the length are uniform quintic B-splines, four times continuously
differentiable within a segment.

`equipot.frozen` writes programs. There are kernels for the CPU only.
"""

import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, final

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from equipot.ops.convolution import LIBRARY
from equipot.ops.library import require

LIBRARY.define("program_create(Tensor code, Tensor[] constants, Tensor like) -> int")
LIBRARY.define(
    "program_run(Tensor positions, Tensor translations, Tensor elements, "
    "Tensor senders, Tensor receivers, Tensor pointers, Tensor reverse, int program, "
    "bool derivatives) -> (Tensor, Tensor, Tensor, Tensor)"
)
LIBRARY.define(
    "program_hessian_products(Tensor positions, Tensor translations, Tensor elements, "
    "Tensor senders, Tensor receivers, Tensor pointers, Tensor reverse, int program, "
    "Tensor directions) -> Tensor"
)
LIBRARY.define("program_second_derivatives(int program) -> bool")
LIBRARY.define("program_bytes(int program) -> int")
LIBRARY.define("program_release(int program) -> ()")


class ReceivedEdges(NamedTuple):
    """Edges sorted by receiver; all int64."""

    senders: Int[Tensor, " edges"]
    receivers: Int[Tensor, " edges"]
    pointers: Int[Tensor, " nodes_plus_1"]
    """First edge of each receiver, and the number of edges."""
    reverse: Int[Tensor, " edges"]
    """Reverse of each edge."""

    @classmethod
    def of(
        cls,
        edge_index: Int[Tensor, "2 edges"],
        num_nodes: int,
        reverse: Int[Tensor, " edges"],
    ) -> "ReceivedEdges":
        """Edges of a graph, which are sorted already."""
        senders, receivers = edge_index.contiguous()
        counts = torch.bincount(receivers, minlength=num_nodes)
        pointers = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        return cls(senders, receivers, pointers, reverse)


class Evaluation(NamedTuple):
    """Result of a program."""

    energies: Float64[Tensor, " nodes"]
    """Energy of each node in eV."""
    forces: Float64[Tensor, "_nodes 3"]
    """Forces in eV/Å; empty without derivatives."""
    virials: Float64[Tensor, "_nodes 3 3"]
    """Symmetric derivatives of the energy by strain, as a sum over nodes, in eV; empty
    without derivatives."""
    features: Float[Tensor, "nodes _channels"]
    """Values of the place that the program names."""


@final
class Program:
    """A compiled program, which keeps its memory between calls.

    Args:
        code: Instructions; see `equipot.frozen.builder`.
        constants: Tensors that they refer to.
        dtype: Precision of the features.

    Raises:
        LibraryUnavailableError: If there are no compiled ops for the CPU.
        RuntimeError: If the code is not valid.
    """

    def __init__(
        self,
        code: Int[Tensor, " numbers"],
        constants: Sequence[Tensor],
        dtype: torch.dtype,
    ) -> None:
        require(torch.device("cpu"))
        like = torch.empty(0, dtype=dtype, device="cpu")
        self._number: int = torch.ops.equipot.program_create(
            code, [c.detach() for c in constants], like
        )
        weakref.finalize(self, torch.ops.equipot.program_release, self._number)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Program":
        """The program itself: it does not change, and calls exclude each other."""
        return self

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled: a program exists in one process."""
        raise TypeError(
            "a program cannot be pickled: load the model in the other process instead"
        )

    @property
    def num_bytes(self) -> int:
        """Memory that the program keeps between calls, without its constants."""
        return int(torch.ops.equipot.program_bytes(self._number))

    @property
    def second_derivatives(self) -> bool:
        """Whether there are second derivatives of all instructions."""
        return bool(torch.ops.equipot.program_second_derivatives(self._number))

    def __call__(
        self,
        positions: Float64[Tensor, "nodes 3"],
        translations: Float64[Tensor, "edges 3"],
        elements: Int[Tensor, " nodes"],
        edges: ReceivedEdges,
        *,
        derivatives: bool,
    ) -> Evaluation | None:
        """Evaluate; None if an edge is shorter than the functions of the length reach.

        Args:
            positions: Cartesian coordinates in Å.
            translations: Translation of the sender of each edge in Å.
            elements: Element of each node, as a row of the tables.
            edges: Edges.
            derivatives: Whether to compute forces and virials.
        """
        energies, forces, virials, features = torch.ops.equipot.program_run(
            positions,
            translations,
            elements,
            *edges,
            self._number,
            derivatives,
        )
        if len(energies) < len(positions):
            return None
        return Evaluation(energies, forces, virials.view(-1, 3, 3), features)

    def hessian_products(
        self,
        positions: Float64[Tensor, "nodes 3"],
        translations: Float64[Tensor, "edges 3"],
        elements: Int[Tensor, " nodes"],
        edges: ReceivedEdges,
        directions: Float64[Tensor, "directions nodes 3"],
    ) -> Float64[Tensor, "directions nodes 3"] | None:
        """Products of the Hessian of the energy with displacements.

        Values and derivatives are computed once, and their changes along each direction
        from these; threads share the directions.

        Args:
            positions: See `__call__`, like the next ones.
            translations: In Å.
            elements: Of each node.
            edges: Edges.
            directions: Displacements in Å.

        Returns:
            First-order changes of the gradient of the energy in eV/Å; None if an edge
            is shorter than the functions of the length reach.

        Raises:
            RuntimeError: If there are no `second_derivatives`.
        """
        products: Tensor = torch.ops.equipot.program_hessian_products(
            positions,
            translations,
            elements,
            *edges,
            self._number,
            directions,
        )
        return None if products.shape[1] < len(positions) else products
