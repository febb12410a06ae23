"""Translation of layers and heads to instructions of a program."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from equipot.frozen.builder import Block, Builder, Coupling
from equipot.frozen.builder import Function as Nonlinearity
from equipot.frozen.radial import RadialTables
from equipot.heads.energy import EnergyHead
from equipot.models.architectures.mace import MACELayer
from equipot.models.message_passing import MessagePassing
from equipot.nn import ElementEmbedding, GatedLayer, InteractionBlock
from equipot.nn.degrees import (
    EmbeddedElement,
    ElementLinearPerDegree,
    OneHotElement,
)
from equipot.nn.gate import SIGMOID_GAIN, SILU_GAIN
from equipot.node_products.monomial_terms import monomial_terms
from equipot.so3 import degree_of_component, num_components
from equipot.tensor_products import TensorProductSpec
from equipot.tensor_products.fused import edge_matrix_map
from equipot.tensor_products.weights import path_weights


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

    def layer(self, layer: nn.Module, x: list[Block] | Tensor) -> list[Block]:
        """Features after a layer.

        Args:
            layer: Layer of a `MessagePassing` backbone.
            x: Features before; of the first layer, scalars of each present element,
                shape ``(elements, channels)``.
        """
        if isinstance(layer, MACELayer):
            return self._mace(layer, x)
        if isinstance(layer, InteractionBlock):
            return self._interaction(layer, x)
        if isinstance(layer, GatedLayer):
            return self._gated(layer, x)
        raise UnsupportedModelError(f"layers of type {type(layer).__name__}")

    def embedding(self, module: nn.Module) -> Float64[Tensor, "elements channels"]:
        """Initial scalars of the elements that are present."""
        if isinstance(module, ElementEmbedding | EmbeddedElement):
            return self._of_present(module.weight)
        if isinstance(module, OneHotElement):
            return module(torch.tensor(list(self.present)))[0][:, 0]
        raise UnsupportedModelError(f"embeddings of type {type(module).__name__}")

    def head(
        self,
        head: EnergyHead,
        layers: Sequence[list[Block]],
        factors: Float64[Tensor, " elements"],
    ) -> None:
        """Energies from the scalars of all layers, times a factor of the element."""
        for readout, blocks in zip(head.early, layers, strict=False):
            self._read(readout, blocks[0], factors)
        last = head.last
        if isinstance(last, nn.Linear):
            self._read(last, layers[-1][0], factors)
            return
        if not isinstance(last, nn.Sequential):
            raise UnsupportedModelError(f"readouts of type {type(last).__name__}")
        if bool((factors != 1).any()):
            raise UnsupportedModelError("factors of elements with a nonlinear readout")
        x = layers[-1][0]
        *hidden, final_map = last
        for part in hidden:
            if isinstance(part, nn.Linear):
                (out,) = self.builder.blocks([part.out_features])
                self.builder.linear(x, out, part.weight.T[None, None])
                if part.bias is not None:
                    self._add(out, part.bias)
            elif isinstance(part, nn.SiLU | nn.Tanh):
                (out,) = self.builder.blocks([x.channels])
                name: Nonlinearity = "silu" if isinstance(part, nn.SiLU) else "tanh"
                self.builder.activate(x, out, name, 1.0)
            else:
                raise UnsupportedModelError(f"readouts with {type(part).__name__}")
            x = out
        self._read(final_map, x, factors)

    def _read(self, readout: nn.Module, x: Block, factors: Tensor) -> None:
        weights = cast(nn.Linear, readout).weight[0]
        self.builder.read(x, factors[:, None] * weights)

    def _add(self, out: Block, bias: Float64[Tensor, " channels"]) -> None:
        """Add a vector to the scalars of all nodes."""
        table = bias.expand(len(self.present), -1)
        self.builder.embed(out, table, add=True)

    def _of_present(self, weights: Tensor) -> Tensor:
        """Rows of the elements that are present."""
        return weights[list(self.present)]

    def _mace(self, layer: MACELayer, x: list[Block] | Tensor) -> list[Block]:
        if layer.density is not None:
            raise UnsupportedModelError("messages divided by a density")
        spec = layer.tensor_product.spec
        polynomial = layer.node_product.spec
        if polynomial.weighting != "per_path":
            raise UnsupportedModelError("node products with weights per degree")
        channels = cast(int, layer.linear_out.weight.shape[1])
        sent_channels = layer.channels_sent
        basis = self.builder.blocks([channels], spec.lmax_out)
        maps = []
        for degree, weight in enumerate(layer.path_linear.weights):
            paths = weight.unflatten(0, (-1, sent_channels)) * layer._norm
            if layer.residual:
                maps.append(paths[None])
            else:
                of_elements = self._of_present(layer.element_linear.weight)[:, degree]
                maps.append(torch.einsum("pio,zoq->zpiq", paths, of_elements))

        def arrange(values: Tensor) -> Tensor:
            per_path = values.unflatten(1, (-1, sent_channels))
            return path_weights(spec, per_path)

        if isinstance(x, Tensor):
            sent = x @ layer.linear_in.weight[0]
            self._first_convolution(spec, layer.radial, arrange, sent, maps, basis)
        else:
            sent_blocks = self.builder.blocks([sent_channels], spec.lmax_in)
            for block, out, matrix in zip(
                x, sent_blocks, layer.linear_in.weight, strict=False
            ):
                self.builder.linear(block, out, matrix[None, None])
            message = self._convolve(sent_blocks[0].buffer, spec, layer.radial, arrange,
                                     sent_channels)
            self._mix_paths(spec, message, maps, basis)
        terms = monomial_terms(polynomial)
        weights = layer.polynomial_weights
        if len(weights) > 1:
            weights = self._of_present(weights)
        products = self.builder.contract(
            basis[0].buffer, terms.table, terms.of_weights @ weights,
            polynomial.num_outputs,
        )
        out_blocks = self.builder.blocks([channels], polynomial.lmax_out)
        width = self.builder.padded(channels)
        for degree, out in enumerate(out_blocks):
            block = Block(products, degree**2 * width, width, 2 * degree + 1, channels)
            self.builder.linear(block, out, layer.linear_out.weight[degree][None, None])
        if layer.residual:
            skips = self._of_present(layer.element_linear.weight)
            if isinstance(x, Tensor):
                rows = torch.einsum("zi,zio->zo", x, skips[:, 0])
                self.builder.embed(out_blocks[0], rows, add=True)
            else:
                for degree in range(skips.shape[1]):
                    self.builder.linear(
                        x[degree], out_blocks[degree], skips[:, degree][:, None],
                        add=True,
                    )
        return out_blocks

    def _interaction(
        self, layer: InteractionBlock, x: list[Block] | Tensor
    ) -> list[Block]:
        spec, channels = layer.tensor_product.spec, layer.channels
        paths_to = [path.l_out for path in spec.paths]
        concat = spec.accumulate == "concat"
        maps = []
        for degree in range(spec.lmax_out + 1):
            matrix = layer.linear_out.weight[degree] * layer._norm
            count = paths_to.count(degree)
            if not concat and not isinstance(x, Tensor):
                count = 1
            maps.append(matrix[None, None].expand(1, count, -1, -1))

        def arrange(values: Tensor) -> Tensor:
            return path_weights(spec, values.unflatten(1, (-1, channels)))

        update = self.builder.blocks([channels], spec.lmax_out)
        if isinstance(x, Tensor):
            sent = x @ layer.linear_in.weight[0]
            self._first_convolution(spec, layer.radial, arrange, sent, maps, update)
        else:
            sent_blocks = self.builder.blocks([channels], spec.lmax_in)
            for block, out, matrix in zip(
                x, sent_blocks, layer.linear_in.weight, strict=True
            ):
                self.builder.linear(block, out, matrix[None, None])
            message = self._convolve(
                sent_blocks[0].buffer, spec, layer.radial, arrange, channels
            )
            self._mix_paths(spec, message, maps, update)
        factors = self._of_present(layer.element_factors)
        own = torch.einsum("lio,zlo->zlio", layer.self_connection.weight, factors)
        bias = self._of_present(layer.element_bias)
        if isinstance(x, Tensor):
            rows = torch.einsum("zi,zio->zo", x, own[:, 0]) + bias
            self.builder.embed(update[0], rows, add=True)
        else:
            self.builder.embed(update[0], bias, add=True)
            for degree in range(own.shape[1]):
                self.builder.linear(
                    x[degree], update[degree], own[:, degree][:, None], add=True
                )
        return self._gate_by_logits(layer, update)

    def _gate_by_logits(
        self, layer: InteractionBlock, update: list[Block]
    ) -> list[Block]:
        """Gate whose further factors are linear maps of the scalars."""
        channels = layer.channels
        out = self.builder.blocks([channels], len(update) - 1)
        if len(update) > 1:
            linear = layer.gate.linear
            logits = self.builder.blocks_of([(0, channels)] * (len(update) - 1))
            weights = linear.weight.unflatten(0, (-1, channels))
            biases = linear.bias.unflatten(0, (-1, channels))
            for gates, weight, bias in zip(logits, weights, biases, strict=True):
                self.builder.linear(update[0], gates, weight.T[None, None])
                self._add(gates, bias)
            for block, gates, to in zip(update[1:], logits, out[1:], strict=True):
                self.builder.gate(block, gates, to, "sigmoid", SIGMOID_GAIN)
        self.builder.activate(update[0], out[0], "silu", SILU_GAIN)
        return out

    def _gated(self, layer: GatedLayer, x: list[Block] | Tensor) -> list[Block]:
        raise UnsupportedModelError("gated layers")

    def _first_convolution(
        self,
        spec: TensorProductSpec,
        radial: Any,
        arrange: Callable[[Tensor], Tensor],
        sent: Float64[Tensor, "elements channels"],
        maps: Sequence[Float64[Tensor, "matrices paths channels out"]],
        out: Sequence[Block],
    ) -> None:
        """Convolution of scalars that depend on the element only, and a mix of paths.

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
        for degree, (matrix, block) in enumerate(zip(maps, out, strict=True)):
            chosen = [n for n, path in enumerate(spec.paths) if path.l_out == degree]
            if not chosen:
                continue
            scaled = per_path[:, chosen] * scales[chosen][:, None]
            weights = torch.einsum("kpc,sc,rpco->rsko", scaled, sent, matrix)
            self.builder.linear(moments[degree], block, weights, part_stride=part)

    def _convolve(
        self,
        x: int,
        spec: TensorProductSpec,
        radial: Any,
        arrange: Callable[[Tensor], Tensor],
        channels: int,
    ) -> int:
        """Messages, with radial functions arranged to path and channel."""
        padded = self.builder.padded(channels)

        def columns(values: Tensor) -> Tensor:
            per_path = arrange(values)
            missing = padded - per_path.shape[2]
            return nn.functional.pad(per_path, (0, missing)).flatten(1)

        rows, harmonics, values = edge_matrix_map(spec)
        coupling = Coupling(
            [degree for path in spec.paths for degree in path],
            rows,
            harmonics,
            values,
            spec.num_outputs,
            spec.accumulate == "concat",
        )
        functions = self.radial.full(radial, columns)
        return self.builder.convolve(x, coupling, functions, padded)

    def _mix_paths(
        self,
        spec: TensorProductSpec,
        message: int,
        maps: Sequence[Float64[Tensor, "matrices paths channels out"]],
        out: Sequence[Block],
        *,
        add: bool = False,
    ) -> None:
        """Matrices of the paths to each degree."""
        start = 0
        for degree, (matrix, to) in enumerate(zip(maps, out, strict=True)):
            width = self.builder.padded(matrix.shape[2])
            components = 2 * degree + 1
            block = Block(message, start * width, width, components, matrix.shape[2])
            count = matrix.shape[1]
            start += count * components
            if count:
                stride = components * width
                self.builder.linear(block, to, matrix, part_stride=stride, add=add)


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
