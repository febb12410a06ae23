"""Weights of NequIP models, as weights of equipot."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

import torch
from torch import Tensor

from equipot.conversion.accounting import SourceTensors
from equipot.conversion.converted import rows_by_atomic_number
from equipot.conversion.couplings import sign_of_coupling
from equipot.conversion.errors import ConversionError
from equipot.conversion.sources.nequip.irreps import (
    EVEN,
    Channels,
    Coupling,
    Kind,
    channels_of_file,
    couplings,
    kinds_of,
    update_columns,
    with_gates,
)
from equipot.conversion.sources.nequip.settings import Architecture
from equipot.models.architectures.nequip_original import (
    Features,
    features_after_layers,
)
from equipot.nn import Parities, parity_specs, paths_and_channels
from equipot.nn import with_gates as with_gates_of_equipot

EMBEDDING = "type_embed.embed_module.weight"
COULOMB = 14.399645
"""e^2 / (4 pi eps0) in eV Å, as rounded in the original."""


@final
@dataclass(frozen=True)
class Model:
    """Tensors of a file, by the names of the module that computes the energy."""

    tensors: SourceTensors
    found: Architecture
    prefix: str = ""
    """Of the names of all tensors."""
    has_symbols: bool = True
    """Whether 3j symbols must be among them; otherwise they are those of e3nn 0.5."""

    def take(self, name: str, shape: tuple[int, ...] | None = None) -> Tensor:
        """A tensor by its name without prefix; see `SourceTensors.take`."""
        return self.tensors.take(f"{self.prefix}{name}", shape)

    @property
    def dtype(self) -> str:
        """Type of the weights; radial functions and scales are in float64 anyway."""
        return self.tensors.dtype_of(f"{self.prefix}{EMBEDDING}")

    @property
    def rows(self) -> list[int]:
        """Rows of tables of elements in the order of equipot."""
        return rows_by_atomic_number(self.found.numbers)

    @property
    def neighbors(self) -> float:
        """What equipot divides messages by the root of."""
        return sum(self.found.neighbors) / len(self.found.neighbors)

    @property
    def has_scales(self) -> bool:
        """Whether the scale depends on the element."""
        scales = self._of_elements("scales", 1.0)
        return not bool((scales == scales[0]).all())

    @property
    def scale(self) -> float:
        """Scale in eV, the mean over the elements."""
        mean = self._of_elements("scales", 1.0).mean().item()
        if not mean > 0:
            raise ConversionError(
                f"the scales of energies are {mean:g} in the mean: expected a positive "
                "number"
            )
        return mean

    def energies(self) -> dict[int, float]:
        """Shift of each element in eV, by atomic number."""
        shifts = self._of_elements("shifts", 0.0).tolist()
        return dict(zip(self.found.numbers, shifts, strict=True))

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Weights by the names of equipot, in float64."""
        found = self.found
        shape = (len(found.numbers), found.embedding)
        embedding = self.take(EMBEDDING, shape)
        yield "backbone.embedding.weight", embedding[self.rows]
        yield from self._basis()
        theirs = channels_of_file(
            found.embedding, found.hidden, found.num_layers, both=found.both
        )
        ours = [
            Features((found.embedding,)),
            *features_after_layers(found.hidden, found.num_layers, both=found.both),
        ]
        for n, pair in enumerate(zip(pairwise(theirs), pairwise(ours), strict=True)):
            (before, after), (features, result) = pair
            last = n == found.num_layers - 1
            used = Features(features.natural) if last else features
            layer = _Layer(self, n, before, after, used, result)
            yield from layer.weights(embedding)
        yield from self._readout()
        if self.has_scales:
            scales = self._of_elements("scales", 1.0)
            yield "backbone.scale", scales[self.rows] / self.scale
        self._check_repulsion()

    def _basis(self) -> Iterator[tuple[str, Tensor]]:
        """Orders of the Bessel functions, and the cutoff that they end at."""
        found = self.found
        orders = self.take("bessel_encode.bessel_weights", (1, found.num_basis))
        whole = torch.arange(1, found.num_basis + 1, dtype=torch.float64)
        if found.trained_basis:
            yield (
                "backbone.radial_inputs.basis.wave_numbers",
                orders[0] * (torch.pi / found.cutoff),
            )
        elif not torch.equal(orders[0], whole):
            raise ConversionError(
                "bessel_weights are not 1, 2, ..., but bessel_trainable is false"
            )
        inverse = self.take("edge_norm._rmax_recip", ()).item()
        if abs(inverse * found.cutoff - 1) > 1e-6:
            raise ConversionError(
                f"r_max is {found.cutoff:g} Å in the settings and {1 / inverse:g} Å in "
                "the tensor _rmax_recip: expected the same"
            )

    def _readout(self) -> Iterator[tuple[str, Tensor]]:
        widths = [self.found.hidden[0], *self.found.readout_hidden, 1]
        matrices = self.mlp("per_atom_energy_readout.mlp_module.mlp", widths)
        last = len(widths) - 2
        for n, matrix in enumerate(matrices):
            name = f"head.last.{2 * n}" if last else "head.last"
            yield f"{name}.weight", matrix.T
            if n < last:
                yield f"{name}.bias", torch.zeros(widths[n + 1], dtype=torch.float64)

    def mlp(self, name: str, widths: Sequence[int]) -> list[Tensor]:
        """Matrices of an MLP without biases, inputs first, with their factors."""
        return [
            self.take(f"{name}.{2 * n}.weight", shape)
            * ((2.0 if n else 1.0) / shape[0]) ** 0.5
            for n, shape in enumerate(pairwise(widths))
        ]

    def _of_elements(self, name: str, default: float) -> Tensor:
        """Scale or shift of each element in the order of the file."""
        count = len(self.found.numbers)
        name = f"per_type_energy_scale_shift.{name}"
        tensor = self.take(name).flatten()
        if tensor.numel() == 0:
            return torch.full((count,), default, dtype=torch.float64)
        if tensor.shape not in ((1,), (count,)):
            raise ConversionError(
                f"{name} has {tensor.numel()} numbers: expected one, or {count}"
            )
        return tensor.expand(count)

    def _check_repulsion(self) -> None:
        """Compare the constants of the repulsion with those of equipot."""
        if not self.found.repulsion:
            return
        numbers = self.take("pair_potential.atomic_numbers")
        if numbers.tolist() != [float(z) for z in self.found.numbers]:
            raise ConversionError(
                "atomic_numbers of the pair potential are not those of type_names"
            )
        half = self.take("pair_potential._qqr2exesquare", ()).item()
        if abs(2 * half / COULOMB - 1) > 1e-6:
            raise ConversionError(
                f"the pair potential has the constant {2 * half:g} eV Å: expected "
                f"{COULOMB:g}"
            )


@final
@dataclass(frozen=True)
class _Layer:
    """One layer: channels of the file, and those that equipot keeps of them."""

    model: Model
    number: int
    before: Channels
    after: Channels
    features: Features
    result: Features

    @property
    def name(self) -> str:
        """Of the convolution of the layer in the file."""
        return f"layer{self.number}_convnet.conv"

    def weights(self, embedding: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Weights of the layer by the names of equipot."""
        ours = f"backbone.layers.{self.number}"
        linear = self._linear("linear_1", self.before, self.before)
        for n, kind in enumerate(kinds_of(self.features)):
            yield f"{ours}.linear.weights.{n}", linear[kind]
        if len(self.model.found.neighbors) > 1:
            counts = torch.tensor(self.model.found.neighbors, dtype=torch.float64)
            factors = (self.model.neighbors / counts[self.model.rows]).sqrt()
            yield f"{ours}.sender_factors", factors
        yield from self._convolution(ours)
        if self.number:
            for n, matrix in enumerate(self._self_connection(embedding)):
                yield f"{ours}.self_connection.weights.{n}", matrix

    def _convolution(self, ours: str) -> Iterator[tuple[str, Tensor]]:
        found, update = self.model.found, with_gates(self.after)
        lmax = len(found.hidden) - 1
        order = couplings(self.before, lmax, list(update))
        columns = _places((c, self.before[c.source]) for c in order)
        widths = [
            found.num_basis,
            *found.radial_hidden,
            sum(map(len, columns.values())),
        ]
        matrices = self.model.mlp(f"{self.name}.edge_mlp.mlp", widths)
        signs = {coupling: self._sign(coupling) for coupling in order}
        weights = list(self._ours(lmax))
        chosen = [columns[coupling][c] for coupling, c, _ in weights]
        sign = torch.tensor([signs[c] for c, *_ in weights], dtype=torch.float64)
        # 2 / cutoff in the original, the root of it in equipot
        matrices[0] = matrices[0] * (2 / found.cutoff) ** 0.5
        matrices[-1] = matrices[-1][:, chosen] * sign
        last = len(matrices) - 1
        for n, matrix in enumerate(matrices):
            name = "output" if n == last else f"hidden.{n}"
            yield f"{ours}.radial.{name}.weight", matrix.T
        rows_of: Channels = {}
        for coupling in order:
            rows_of.setdefault(coupling.result, 0)
            rows_of[coupling.result] += self.before[coupling.source]
        linear = self._linear(
            "linear_2", {kind: rows_of[kind] for kind in sorted(rows_of)}, update
        )
        for n, kind in enumerate(kinds_of(self.result)):
            places = _places(
                (c, self.before[c.source]) for c in order if c.result == kind
            )
            rows = [places[coupling][c] for coupling, c, end in weights if end == n]
            yield (
                f"{ours}.convolution.weights.{n}",
                self._kept(linear[kind], kind)[rows],
            )

    def _ours(self, lmax: int) -> Iterator[tuple[Coupling, int, int]]:
        """Coupling, channel and end of each radial weight of equipot."""
        parities = Parities(len(self.features.natural), len(self.result.natural))
        update = with_gates_of_equipot(
            self.result.channels, odd_scalars=bool(self.result.odd_scalars)
        )
        specs = parity_specs(self.features.channels, update, lmax, parities)
        ends = kinds_of(self.result)
        weights = paths_and_channels(self.features.channels, update, specs, parities)
        for tower, path, channel, end in weights:
            parity = (-1) ** (path.l_in + tower.unnatural)
            coupling = Coupling(Kind(path.l_in, parity), path.l_filter, ends[end])
            yield coupling, channel, end

    def _sign(self, coupling: Coupling) -> float:
        """Factor 1 or -1 from the coupling of equipot to that of the file."""
        degrees = (coupling.source.degree, coupling.filter, coupling.result.degree)
        module = (
            f"{self.model.prefix}{self.name}.tp_scatter.tp._compiled_main_left_right"
        )
        name = "_".join([f"{module}._w3j", *map(str, degrees)])
        return sign_of_coupling(
            self.model.tensors, name, degrees, required=self.model.has_symbols
        )

    def _kept(self, matrix: Tensor, kind: Kind) -> Tensor:
        """Columns of a result that equipot has, in its order."""
        if kind != EVEN:
            return matrix
        kept = kinds_of(self.result)
        return matrix[..., list(update_columns(self.after, kept))]

    def _linear(
        self, name: str, inputs: Channels, outputs: Channels
    ) -> dict[Kind, Tensor]:
        """Matrices of a linear map of e3nn with their normalizations."""
        shapes = {k: (n, outputs[k]) for k, n in inputs.items() if k in outputs}
        blocks = self._blocks(f"{self.name}.{name}.weight", shapes)
        return {kind: block / block.shape[0] ** 0.5 for kind, block in blocks.items()}

    def _self_connection(self, embedding: Tensor) -> Iterator[Tensor]:
        """Matrices of each element, from those of the components of its vector."""
        update, width = with_gates(self.after), embedding.shape[1]
        shapes = {
            kind: (count, width, update[kind])
            for kind, count in self.before.items()
            if kind in update
        }
        blocks = self._blocks(f"{self.name}.sc.weight", shapes)
        kept = kinds_of(self.result)
        for kind in kinds_of(self.features)[: len(kept)]:
            block = blocks[kind]
            norm = (block.shape[0] * width) ** 0.5
            matrices = torch.einsum("za,cad->zcd", embedding[self.model.rows], block)
            yield self._kept(matrices, kind) / norm

    def _blocks(
        self, name: str, shapes: Mapping[Kind, tuple[int, ...]]
    ) -> dict[Kind, Tensor]:
        """Blocks of numbers that lie one after the other in a tensor."""
        sizes = [torch.Size(shape).numel() for shape in shapes.values()]
        flat = self.model.take(name, (sum(sizes),))
        return {
            kind: part.reshape(shape)
            for (kind, shape), part in zip(
                shapes.items(), flat.split(sizes), strict=True
            )
        }


def _places(counts: Iterator[tuple[Coupling, int]]) -> dict[Coupling, range]:
    """Places of the channels of each path, one path after the other."""
    start, places = 0, {}
    for coupling, count in counts:
        places[coupling] = range(start, start + count)
        start += count
    return places
