"""Translation of embeddings, convolutions and heads to instructions of a program."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple, cast, final

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from equipot.frozen.builder import Block, Builder, Coupling
from equipot.frozen.builder import Function as Nonlinearity
from equipot.frozen.radial import RadialTables
from equipot.heads.energy import EnergyHead
from equipot.nn import ElementEmbedding
from equipot.nn.degrees import EmbeddedElement, OneHotElement
from equipot.nn.gated_mlp import GatedMLP
from equipot.so3 import degree_of_component, num_components
from equipot.tensor_products import TensorProductSpec
from equipot.tensor_products.fused import edge_matrix_map

Arrange = Callable[[Tensor], Tensor]
"""Map of the values of radial functions to those of paths."""


class Mix(NamedTuple):
    """Result of a convolution: matrices applied to some of its paths, and summed."""

    out: Block
    paths: list[int]
    """Indices of paths to one degree; of paths that the product sums, the first."""
    weights: Float64[Tensor, "matrices paths channels out"]
    """Of each path; one set, or one for each element of the receiver."""
    add: bool = False
    """Whether to add to the result."""


class UnsupportedModelError(ValueError):
    """A model has a part that programs cannot evaluate; the message names it."""


@final
@dataclass
class Lowering:
    """State of a translation.

    Args:
        builder: Program under construction.
        radial: Tables of radial functions.
        present: Indices of the elements that are present.
    """

    builder: Builder
    radial: RadialTables
    present: Sequence[int]

    def embedding(self, module: nn.Module) -> Float64[Tensor, "elements channels"]:
        """Initial scalars of the elements that are present."""
        if isinstance(module, ElementEmbedding | EmbeddedElement):
            return self.of_present(module.weight)
        if isinstance(module, OneHotElement):
            return module(torch.tensor(list(self.present)))[0][:, 0]
        raise UnsupportedModelError(
            f"embeddings of type {type(module).__name__} are not supported"
        )

    def head(
        self,
        head: EnergyHead,
        layers: Sequence[list[Block]],
        factors: Float64[Tensor, " elements"],
    ) -> None:
        """Energies from the scalars of all layers, times a factor of the element."""
        for readout, blocks in zip(head.early, layers, strict=False):
            self._read(readout, blocks[0], factors)
        x, last = layers[-1][0], head.last
        if isinstance(last, nn.Linear):
            self._read(last, x, factors)
        elif isinstance(last, GatedMLP):
            value, gate = self._mlp(x, last.value), self._mlp(x, last.gate)
            (out,) = self.builder.blocks([1])
            self.builder.gate(value, gate, out, "sigmoid", 1.0)
            self.builder.read(out, factors[:, None])
        else:
            *hidden, final_map = cast(nn.Sequential, last)
            self._read(final_map, self._mlp(x, hidden), factors)

    def _mlp(self, x: Block, parts: Iterable[nn.Module]) -> Block:
        """Linear maps and nonlinearities of scalars."""
        for part in parts:
            if isinstance(part, nn.Linear):
                out = self.affine(x, part)
            else:
                (out,) = self.builder.blocks([x.channels])
                name: Nonlinearity = "silu" if isinstance(part, nn.SiLU) else "tanh"
                self.builder.activate(x, out, name, 1.0)
            x = out
        return x

    def affine(self, x: Block, linear: nn.Linear) -> Block:
        """Linear map of scalars."""
        (out,) = self.builder.blocks([linear.out_features])
        self.builder.linear(x, out, linear.weight.T[None, None])
        if linear.bias is not None:
            self.add_vector(out, linear.bias)
        return out

    def _read(self, readout: nn.Module, x: Block, factors: Tensor) -> None:
        weights = cast(nn.Linear, readout).weight[0]
        self.builder.read(x, factors[:, None] * weights)

    def add_vector(self, out: Block, bias: Float64[Tensor, " channels"]) -> None:
        """Add a vector to the scalars of all nodes."""
        table = bias.expand(len(self.present), -1)
        self.builder.embed(out, table, add=True)

    def of_present(self, weights: Tensor) -> Tensor:
        """Rows of the elements that are present."""
        return weights[list(self.present)]

    def mixed(
        self,
        x: list[Block] | Float64[Tensor, "elements channels"],
        weights: Float64[Tensor, "degrees channels channels_out"],
    ) -> Block | Float64[Tensor, "elements channels_out"]:
        """Features with a matrix applied to each degree; the first block of them."""
        if isinstance(x, Tensor):
            return x @ weights[0]
        out = self.builder.blocks([weights.shape[2]], len(weights) - 1)
        for block, to, matrix in zip(x, out, weights, strict=False):
            self.builder.linear(block, to, matrix[None, None])
        return out[0]

    def convolution(
        self,
        spec: TensorProductSpec,
        radial: Any,
        arrange: Arrange,
        x: Block | Float64[Tensor, "elements channels"],
        mixes: Sequence[Mix],
    ) -> None:
        """Convolution, followed by matrices that mix its paths.

        Args:
            spec: Specification of the product.
            radial: Radial functions.
            arrange: Map of their values to those of all paths, shape ``(lengths, paths,
                channels)``.
            x: First block of a buffer of features, or scalars of each element that is
                present.
            mixes: Results.
        """
        if isinstance(x, Tensor):
            self._of_elements(spec, radial, arrange, x, mixes)
        else:
            self._of_features(spec, radial, arrange, x, mixes)

    def _of_elements(
        self,
        spec: TensorProductSpec,
        radial: Any,
        arrange: Arrange,
        x: Float64[Tensor, "elements channels"],
        mixes: Sequence[Mix],
    ) -> None:
        """Convolution of scalars that depend on the element only.

        Radial functions are linear combinations of few; their sums over the edges from
        each element, times harmonics, are formed first and then combined.
        """
        functions, combinations = self.radial.low_rank(
            radial, lambda values: arrange(values).flatten(1)
        )
        per_path = combinations.unflatten(1, (len(spec.paths), -1))
        scales = _scalar_couplings(spec)
        moments = self.builder.moments(functions)
        part = num_components(self.builder.lmax) * moments[0].stride
        for mix in mixes:
            degree = spec.paths[mix.paths[0]].l_out
            scaled = per_path[:, mix.paths] * scales[mix.paths][:, None]
            weights = torch.einsum("kpc,sc,rpco->rsko", scaled, x, mix.weights)
            self.builder.linear(
                moments[degree], mix.out, weights, part_stride=part, add=mix.add
            )

    def _of_features(
        self,
        spec: TensorProductSpec,
        radial: Any,
        arrange: Arrange,
        x: Block,
        mixes: Sequence[Mix],
    ) -> None:
        padded = self.builder.padded(x.channels)

        def columns(values: Tensor) -> Tensor:
            missing = padded - x.channels
            return nn.functional.pad(arrange(values), (0, missing)).flatten(1)

        functions = self.radial.full(radial, columns)
        message = self.builder.convolve(x.buffer, coupling_of(spec), functions, padded)
        starts = _components_of_paths(spec)
        for mix in mixes:
            for first, count, step in _evenly_spaced([starts[n] for n in mix.paths]):
                place = mix.paths.index(starts.index(first))
                degree = spec.paths[mix.paths[place]].l_out
                components = 2 * degree + 1
                block = Block(message, first * padded, padded, components, x.channels)
                self.builder.linear(
                    block,
                    mix.out,
                    mix.weights[:, place : place + count],
                    part_stride=step * padded,
                    add=mix.add or place > 0,
                )


def coupling_of(spec: TensorProductSpec) -> Coupling:
    """Paths and coupling coefficients of a specification."""
    rows, harmonics, values = edge_matrix_map(spec)
    return Coupling(
        [degree for path in spec.paths for degree in path],
        rows,
        harmonics,
        values,
        spec.num_outputs,
        spec.accumulate == "concat",
    )


def unsupported_head(head: EnergyHead) -> str | None:
    """Reason why there is no translation of a head; None if there is one."""
    last = head.last
    if isinstance(last, nn.Linear):
        return None
    if not isinstance(last, nn.Sequential | GatedMLP):
        return f"readouts of type {type(last).__name__} are not supported"
    parts = [*last.value, *last.gate] if isinstance(last, GatedMLP) else last
    for part in parts:
        if not isinstance(part, nn.Linear | nn.SiLU | nn.Tanh):
            return f"readouts with {type(part).__name__} are not supported"
    return None


def _components_of_paths(spec: TensorProductSpec) -> list[int]:
    """First component of the result of each path."""
    if spec.accumulate != "concat":
        return [path.l_out**2 for path in spec.paths]
    return [0, *accumulate(2 * path.l_out + 1 for path in spec.paths)][:-1]


def _evenly_spaced(numbers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """First number, count and step of consecutive runs of equal steps."""
    start = 0
    while start < len(numbers):
        stop = start + 1
        step = numbers[stop] - numbers[start] if stop < len(numbers) else 0
        while stop < len(numbers) and numbers[stop] - numbers[stop - 1] == step:
            stop += 1
        yield numbers[start], stop - start, step
        start = stop


def _scalar_couplings(spec: TensorProductSpec) -> Float64[Tensor, " paths"]:
    """Factors of the harmonics in products of scalars with them, one for each path."""
    rows, columns, values = edge_matrix_map(spec)
    degrees = degree_of_component(spec.lmax_filter)
    out = torch.zeros(len(spec.paths), dtype=torch.float64)
    for n, path in enumerate(spec.paths):
        if path.l_in != 0 or path.l_filter != path.l_out:
            raise ValueError(f"expected a path from scalars, got {path}")
        out[n] = values[degrees[columns.long()] == path.l_out][0]
    if len(rows) != num_components(spec.lmax_out):
        raise ValueError(f"couplings of scalars in {spec} are not multiples of one")
    return out
