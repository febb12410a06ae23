"""Builder of programs: instructions on buffers, and the memory that buffers share."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, final

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from equipot.frozen.splines import SplineTable
from equipot.ops.contraction import Monomials
from equipot.ops.program import Program
from equipot.ops.solid_harmonics import derivative_table
from equipot.so3 import num_components

ROW_BYTES = 64
"""Rows of channels are padded to whole cache lines."""
ACTIVATIONS = {"silu": 0, "sigmoid": 1, "tanh": 2, "inverse": 3}
Function = Literal["silu", "sigmoid", "tanh", "inverse"]
"""Nonlinearities; "inverse" is 1 / (1 + x)."""

EMBED, LINEAR, MOMENTS, CONVOLVE, CONTRACT, ACTIVATE, GATE, READ = range(8)
NORMALIZE, RADIAL_SUM, DIVIDE, SQUARES, ACCUMULATE, MATRIX_PRODUCT = range(8, 14)
PAIR_COLUMNS = 8
"""Columns of tables of pair energies, which are float64."""


class Block(NamedTuple):
    """Components of one degree in a buffer."""

    buffer: int
    offset: int
    """First scalar of the first component."""
    stride: int
    """Scalars from one component to the next."""
    components: int
    channels: int
    """Number of channels without padding."""


class Coupling(NamedTuple):
    """Paths and coupling coefficients of a convolution; see `equipot.ops`."""

    paths: Sequence[int]
    rows: Int[Tensor, " nonzeros"]
    columns: Int[Tensor, " nonzeros"]
    values: Float64[Tensor, " nonzeros"]
    num_outputs: int
    concat: bool


@dataclass
class _Buffer:
    width: int
    written: int
    """Step that writes it first."""
    last_use: int = -1
    """Last step that reads its values."""
    kept: bool = False
    """Whether a derivative needs its values."""
    readers: list[int] = field(default_factory=list)
    covered: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of columns whose derivatives the readers set."""


@final
class Builder:
    """Program under construction.

    Args:
        dtype: Precision of features.
        num_elements: Number of elements that programs distinguish.
        lmax: Highest degree of harmonics.
    """

    def __init__(self, dtype: torch.dtype, num_elements: int, lmax: int) -> None:
        self.dtype = dtype
        self.num_elements = num_elements
        self.lmax = lmax
        self._pad = ROW_BYTES // dtype.itemsize
        self._steps: list[list[int]] = []
        self._constants: list[Tensor] = []
        self._buffers: list[_Buffer] = []

    def padded(self, channels: int) -> int:
        """Number of channels with padding."""
        return -(-channels // self._pad) * self._pad

    def buffer(self, width: int) -> int:
        """New buffer of a number of scalars per node."""
        if width % self._pad:
            raise ValueError(f"buffers hold whole rows of {self._pad}, got {width}")
        self._buffers.append(_Buffer(width, written=len(self._steps)))
        return len(self._buffers) - 1

    def blocks(self, channels: Sequence[int], lmax: int | None = None) -> list[Block]:
        """Blocks of a new buffer with one degree after the other.

        Args:
            channels: Channels of each degree.
            lmax: If given, degrees 0 to `lmax` have the channels of the first entry.
        """
        if lmax is not None:
            channels = [channels[0]] * (lmax + 1)
        return self.blocks_of(list(enumerate(channels)))

    def blocks_of(self, degrees: Iterable[tuple[int, int]]) -> list[Block]:
        """Blocks of a new buffer for pairs of degree and number of channels."""
        sizes = [(2 * degree + 1, count) for degree, count in degrees]
        buffer = self.buffer(sum(m * self.padded(c) for m, c in sizes))
        out, offset = [], 0
        for components, count in sizes:
            out.append(Block(buffer, offset, self.padded(count), components, count))
            offset += components * self.padded(count)
        return out

    def embed(
        self, out: Block, table: Float64[Tensor, "elements channels"], *, add: bool
    ) -> None:
        """Set or add a row of a table to the first component of a block."""
        rows = self._constant(self._padded_last(table))
        self._step([EMBED, out.buffer, out.offset, out.stride, int(add), rows])

    def linear(
        self,
        x: Block,
        out: Block,
        weights: Float64[Tensor, "matrices parts depth columns"],
        *,
        part_stride: int = 0,
        add: bool = False,
    ) -> None:
        """Apply a matrix, or one per element, to all components.

        Args:
            x: Operand, or its first part.
            out: Result.
            weights: Matrices; one, or one for each element.
            part_stride: Scalars from one part of the operand to the next.
            add: Whether to add to the result.
        """
        matrices, parts, depth, columns = weights.shape
        rows, padded = self.padded(depth), self.padded(columns)
        packed = weights.new_zeros(matrices, parts, rows, padded)
        packed[:, :, :depth, :columns] = weights
        code = [LINEAR, x.buffer, x.offset, x.stride, parts, part_stride, rows]
        code += [out.buffer, out.offset, out.stride, padded, out.components, int(add)]
        code += [int(matrices > 1), self._constant(packed)]
        covered = [
            (start := x.offset + m * x.stride + p * part_stride, start + rows)
            for m in range(out.components)
            for p in range(parts)
        ]
        self._reads(x.buffer, covered, keep=False)
        self._step(code)

    def moments(self, functions: SplineTable) -> list[Block]:
        """Sums over edges for each element of the sender; a block for each degree.

        The parts of a block, one for each element, are ``(lmax + 1)^2`` rows apart.
        """
        columns = self.padded(functions.coefficients.shape[2])
        buffer = self.buffer(self.num_elements * num_components(self.lmax) * columns)
        self._step([MOMENTS, buffer, columns, *self._spline(functions, columns)])
        count = functions.coefficients.shape[2]
        return [
            Block(buffer, degree**2 * columns, columns, 2 * degree + 1, count)
            for degree in range(self.lmax + 1)
        ]

    def convolve(
        self, x: int, coupling: Coupling, functions: SplineTable, channels: int
    ) -> int:
        """Convolution of a whole buffer; returns that of the messages.

        Args:
            x: Buffer of features, components of equally many channels.
            coupling: Paths and coefficients.
            functions: Path weights, channels of one path after the other, padded.
            channels: Number of channels with padding.
        """
        out = self.buffer(coupling.num_outputs * channels)
        degree = coupling.columns.double().add(0.5).sqrt().floor()
        reversed_values = coupling.values * (1 - 2 * (degree % 2))
        code = [CONVOLVE, x, out, channels, len(coupling.paths) // 3, *coupling.paths]
        code += [
            self._constant(coupling.rows, torch.int32),
            self._constant(coupling.columns, torch.int32),
            self._constant(coupling.values),
            self._constant(reversed_values),
            int(coupling.concat),
        ]
        code += self._spline(functions, functions.coefficients.shape[2])
        self._reads(x, [(0, self._buffers[x].width)], keep=True)
        self._step(code)
        return out

    def contract(
        self,
        x: int,
        table: Monomials,
        coefficients: Float64[Tensor, "rows terms channels"],
        num_outputs: int,
    ) -> int:
        """Contraction of a whole buffer; returns that of the result."""
        padded = self._padded_last(coefficients)
        channels = padded.shape[2]
        out = self.buffer(num_outputs * channels)
        code = [CONTRACT, x, out, channels, int(len(coefficients) > 1)]
        code += [len(table.sizes), *table.sizes]
        code += [self._constant(t, torch.int64) for t in table[1:]]
        self._reads(x, [(0, self._buffers[x].width)], keep=True)
        self._step([*code, self._constant(padded)])
        return out

    def activate(self, x: Block, out: Block, function: Function, gain: float) -> None:
        """Nonlinearity of the first component of a block."""
        width = self.padded(out.channels)
        code = [ACTIVATE, x.buffer, x.offset, width, out.buffer, out.offset, width]
        code += [ACTIVATIONS[function], self._number(gain)]
        self._reads(x.buffer, [(x.offset, x.offset + width)], keep=True)
        self._step(code)

    def gate(
        self, x: Block, gates: Block, out: Block, function: Function, gain: float
    ) -> None:
        """Product of a block and a nonlinearity of scalars."""
        width = self.padded(x.channels)
        extent = (x.components - 1) * x.stride + width
        code = [GATE, x.buffer, x.offset, extent, gates.buffer, gates.offset, width]
        code += [out.buffer, out.offset, (x.components - 1) * out.stride + width]
        code += [x.components, x.stride, out.stride]
        code += [ACTIVATIONS[function], self._number(gain)]
        starts = [x.offset + m * x.stride for m in range(x.components)]
        self._reads(x.buffer, [(s, s + width) for s in starts], keep=True)
        covered = [(gates.offset, gates.offset + width)]
        self._reads(gates.buffer, covered, keep=True)
        self._step(code)

    def read(self, x: Block, weights: Float64[Tensor, "elements channels"]) -> None:
        """Add the weighted sum of scalars to the energy of the node."""
        width = self.padded(x.channels)
        self._reads(x.buffer, [(x.offset, x.offset + width)], keep=False)
        rows = self._constant(self._padded_last(weights))
        self._step([READ, x.buffer, x.offset, width, rows])

    def normalize(
        self,
        x: Sequence[Block],
        out: Sequence[Block],
        weights: Sequence[float],
        factors: Sequence[Float64[Tensor, " _channels"]],
        epsilon: float,
        *,
        centered: bool = False,
    ) -> None:
        """Divide features by the root of a weighted sum of their squares.

        Args:
            x: Operand, all blocks of a buffer.
            out: Result, blocks like these.
            weights: Weight of the squares of each block.
            factors: Of the channels of each block.
            epsilon: Added to the sum.
            centered: Whether to subtract the mean before; weights are equal and sum to
                one.
        """
        width = self._buffers[x[0].buffer].width
        of_squares = torch.zeros(width, dtype=torch.float64)
        of_results = torch.zeros(width, dtype=torch.float64)
        for block, weight, factor in zip(x, weights, factors, strict=True):
            for m in range(block.components):
                start = block.offset + m * block.stride
                of_squares[start : start + len(factor)] = weight
                of_results[start : start + len(factor)] = factor
        code = [NORMALIZE, x[0].buffer, out[0].buffer]
        code += [self._constant(of_squares), self._constant(of_results)]
        self._reads(x[0].buffer, [(0, width)], keep=True)
        self._step([*code, self._number(epsilon), int(centered)])

    def squares(self, x: Block, out: Block) -> None:
        """Sum of the squares of all components of a block, for each channel."""
        width = self.padded(x.channels)
        extent = (x.components - 1) * x.stride + width
        code = [SQUARES, x.buffer, x.offset, extent, out.buffer, out.offset, width]
        starts = [x.offset + m * x.stride for m in range(x.components)]
        self._reads(x.buffer, [(s, s + width) for s in starts], keep=True)
        self._step([*code, x.components, x.stride])

    def accumulate(
        self, x: int, out: int, factors: Float64[Tensor, "components channels"]
    ) -> None:
        """Add a buffer to another one, times constants of its channels."""
        rows = self._constant(self._padded_last(factors).flatten())
        self._reads(x, [(0, self._buffers[x].width)], keep=False)
        self._step([ACCUMULATE, x, out, rows])

    def matrix_product(
        self, x: int, y: int, out: int, gain: float, *, add: bool = False
    ) -> None:
        """Products of matrices in both orders, ``gain * (x y + y x)``.

        Args:
            x: Buffer of a matrix for each channel, whose nine components are those of
                degrees 0, 1 and 2; see `equipot.frozen.tensornet`.
            y: Second operand, which may be the first one.
            out: Result.
            gain: Factor.
            add: Whether to add to the result.
        """
        width = self._buffers[x].width
        self._reads(x, [(0, width)], keep=True)
        self._reads(y, [(0, width)], keep=True)
        self._step([MATRIX_PRODUCT, x, y, out, self._number(gain), int(add)])

    def radial_sum(self, functions: SplineTable) -> int:
        """Sum of one function over the edges of each node; returns its buffer."""
        out = self.buffer(self._pad)
        self._step([RADIAL_SUM, out, *self._spline(functions, self._pad)])
        return out

    def divide(self, x: Sequence[Block], density: int, out: Sequence[Block]) -> None:
        """Divide all blocks of a buffer by one plus the result of `radial_sum`."""
        buffer = x[0].buffer
        self._reads(buffer, [(0, self._buffers[buffer].width)], keep=True)
        self._reads(density, [(0, self._pad)], keep=True)
        self._step([DIVIDE, buffer, density, out[0].buffer])

    def finish(
        self,
        features: Block,
        element_energies: Float64[Tensor, " elements"],
        numbers: Float64[Tensor, " 5"],
        pair_energies: SplineTable | None,
    ) -> Program:
        """Compile.

        Args:
            features: Scalars to return.
            element_energies: Added to the energy of each node; may be changed later.
            numbers: Shift in eV, power and cutoff of the number of neighbors, factor of
                the energies of `read`, and length in Å from which on functions of the
                length are valid.
            pair_energies: Half the energy of each pair in eV, one function; or None.
        """
        entries, values = derivative_table(self.lmax)
        places, width = self._places(features.buffer)
        head = [self.num_elements, self.lmax, self._constant(entries, torch.int32)]
        head += [self._keep(values.like(torch.empty(0, dtype=self.dtype)))]
        head += [len(self._buffers), width]
        for buffer, (of_values, of_derivatives) in zip(
            self._buffers, places, strict=True
        ):
            head += [buffer.width, of_values, of_derivatives, int(_shared(buffer))]
        channels = self.padded(features.channels)
        head += [features.buffer, features.offset, channels]
        head += [self._keep(element_energies), self._keep(numbers)]
        head += [int(pair_energies is not None)]
        if pair_energies is not None:
            head += self._spline(pair_energies, PAIR_COLUMNS, torch.float64)
        code = torch.tensor([*head, *(n for step in self._steps for n in step)])
        return Program(code, self._constants, self.dtype)

    def _places(self, features: int) -> tuple[list[tuple[int, int]], int]:
        """Places of values and derivatives of all buffers, and the total width.

        Step n is evaluated at time n and differentiated at time 2 N - n. Values and
        derivatives that are not needed at the same time share memory.
        """
        end = 2 * len(self._steps)
        spans = []
        for n, buffer in enumerate(self._buffers):
            first, last = buffer.written, max(buffer.last_use, buffer.written)
            if buffer.kept:
                last = end - min(buffer.readers)
            if n == features:
                last = max(last, len(self._steps))
            spans.append((first, last, buffer.width))
            readers = buffer.readers or [buffer.written]
            spans.append((end - max(readers), end - first, buffer.width))
        places, width = _allocate(spans)
        return list(zip(places[::2], places[1::2], strict=True)), width

    def _reads(
        self, buffer: int, covered: Sequence[tuple[int, int]], *, keep: bool
    ) -> None:
        state = self._buffers[buffer]
        state.last_use = len(self._steps)
        state.readers.append(len(self._steps))
        state.covered.extend(covered)
        state.kept = state.kept or keep

    def _step(self, code: list[int]) -> None:
        self._steps.append(code)

    def _spline(
        self, table: SplineTable, columns: int, dtype: torch.dtype | None = None
    ) -> list[int]:
        padded = table.coefficients.new_zeros(*table.coefficients.shape[:2], columns)
        padded[:, :, : table.coefficients.shape[2]] = table.coefficients
        code = [self._keep(table.segments), int(table.pairs is not None)]
        if table.pairs is not None:
            code.append(self._constant(table.pairs, torch.int64))
        return [*code, self._constant(padded, dtype)]

    def _padded_last(self, table: Float64[Tensor, "*rows _"]) -> Tensor:
        missing = self.padded(table.shape[-1]) - table.shape[-1]
        return torch.nn.functional.pad(table, (0, missing))

    def _number(self, value: float) -> int:
        return self._constant(torch.tensor([value], dtype=torch.float64))

    def _constant(self, tensor: Tensor, dtype: torch.dtype | None = None) -> int:
        return self._keep(tensor.detach().to(dtype or self.dtype).contiguous())

    def _keep(self, tensor: Tensor) -> int:
        self._constants.append(tensor)
        return len(self._constants) - 1


def _shared(buffer: _Buffer) -> bool:
    """Whether derivatives are not set exactly once by the readers."""
    count = torch.zeros(buffer.width, dtype=torch.int64)
    for start, stop in buffer.covered:
        count[start:stop] += 1
    return bool((count != 1).any())


def _allocate(spans: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """Offsets of pieces of memory, each used from a first to a last time, inclusive.

    Args:
        spans: First time, last time and size of each.

    Returns:
        Offset of each, and the total size; pieces that are used at the same time do not
        overlap. The largest are placed first.
    """
    offsets = [0] * len(spans)
    placed: list[int] = []
    for n in sorted(range(len(spans)), key=lambda n: -spans[n][2]):
        first, last, size = spans[n]
        busy = sorted(
            (offsets[m], offsets[m] + spans[m][2])
            for m in placed
            if spans[m][0] <= last and first <= spans[m][1]
        )
        at = 0
        for start, stop in busy:
            if at + size <= start:
                break
            at = max(at, stop)
        offsets[n] = at
        placed.append(n)
    total = max((o + s[2] for o, s in zip(offsets, spans, strict=True)), default=0)
    return offsets, total
