"""SevenNet: ``.pth`` checkpoints, weights and settings in dictionaries."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, final

import torch
from torch import Tensor

from equipot.checkpoint.origin import ModelOrigin
from equipot.config.model import SevenNetConfig
from equipot.conversion.accounting import Flags, SourceTensors
from equipot.conversion.assembly import assembled
from equipot.conversion.converted import (
    Converted,
    Original,
    Source,
    hashes,
    rows_by_atomic_number,
)
from equipot.conversion.couplings import sign_of_coupling
from equipot.conversion.errors import ConversionError
from equipot.conversion.sources import sevennet_settings as settings
from equipot.conversion.sources.sevennet_settings import Architecture
from equipot.conversion.torch_archive import is_torch_archive, read_torch_archive
from equipot.conversion.towers import TowerOrder
from equipot.models.architectures.sevennet import GAIN
from equipot.nn import with_gates
from equipot.tensor_products import Path as Coupling

STATE: Final = "model_state_dict"
SETTINGS: Final = "config"
ORIGINAL = Original(
    module="sevenn",
    install="pip install sevenn",
    script="""
def calculator(path, head, dtype):
    from sevenn.calculator import SevenNetCalculator

    if dtype != "float32":
        raise ValueError("sevenn predicts in float32 only")
    return SevenNetCalculator(path, modal=head, device="cpu")
""",
)
EMPTY: Final = (".convolution.weight", ".gate.mul.weight")
"""Ends of names of tensors that must not have numbers."""
OLD_NAMES: Final = {
    "EdgeEmbedding": "edge_embedding",
    "reducing nn input to hidden": "reduce_input_to_hidden",
    "reducing nn hidden to energy": "reduce_hidden_to_energy",
}
"""Modules that were renamed; others had spaces in their names."""


def matches(path: Path) -> bool:
    """Whether a file is a checkpoint of SevenNet."""
    if not is_torch_archive(path):
        return False
    root = read_torch_archive(path, numbers=False).root
    if not isinstance(root, Mapping) or not isinstance(root.get(SETTINGS), Mapping):
        return False
    return STATE in root and "_type_map" in root[SETTINGS]


def read(path: Path, head: str | None) -> Converted:
    """Read a model of SevenNet.

    Args:
        path: Its checkpoint.
        head: Modality, if the model has several: a level of theory of its labels.

    Raises:
        ConversionError: If it holds anything that the equations do not account for.
    """
    root = read_torch_archive(path).root
    if not isinstance(root, Mapping):
        raise ConversionError(f"{path} is not a checkpoint of SevenNet")
    parts = Flags(root, "the checkpoint")
    config, state = parts.take(SETTINGS), parts.take(STATE)
    for name in settings.STATE_OF_TRAINING:
        parts.without_effect(name, "state of the training")
    found, lines = settings.read(_names(config, SETTINGS))
    tensors = SourceTensors(_tensors(_names(state, STATE)))
    model = _Model(tensors, found, _modality(found, head))
    weights = dict(model.weights())
    scale, energies = model.energies()
    for end in EMPTY:
        tensors.without_effect(f"*{end}", "has no numbers")
    tensors.without_effect("*.output_mask", "says which outputs are not zero")
    origin = ModelOrigin(
        package="sevenn",
        version=found.version,
        architecture="SevenNet",
        head=head,
        files=hashes(path),
        training=_training(_names(config, SETTINGS)),
        dtype=tensors.dtype,
        without_effect=(*tensors.finish(), *lines, *parts.finish()),
        remarks=_remarks(found),
    )
    config = SevenNetConfig(
        cutoff=found.cutoff,
        channels=found.hidden,
        lmax=len(found.hidden) - 1,
        lmax_filter=found.lmax_filter,
        num_layers=found.num_layers,
        num_basis=found.num_basis,
        radial_hidden=found.radial_hidden,
        symmetry="SO(3)",
        bias=model.has_biases,
        element_scale=model.has_scales,
        self_connection=found.self_connections,
        harmonics="solid" if found.solid else "surface",
        envelope="polynomial" if found.onset is None else "xplor",
        envelope_onset=found.onset,
        envelope_power=found.envelope_power,
    )
    return assembled(
        config,
        weights,
        origin,
        dict(zip(found.numbers, energies, strict=True)),
        scale=scale,
        neighbors=model.neighbors,
    )


SOURCE = Source(
    name="sevennet",
    describes="SevenNet, .pth",
    matches=matches,
    read=read,
    original=ORIGINAL,
)


def _training(config: Mapping[str, Any]) -> dict[str, str]:
    """What users may want to know of the training."""
    names = ("load_dataset_path", "load_trainset_path", "loss", "optimizer", "epoch")
    return {name: str(config[name])[:1000] for name in names if name in config}


def _names(values: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping) or not all(isinstance(k, str) for k in values):
        raise ConversionError(f"{name} of the file: expected a dictionary of names")
    return values


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Tensors by the names of recent versions; those that must be empty are."""
    found = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ConversionError(f"{name[:200]} of {STATE}: expected a tensor")
        if name.endswith(EMPTY) and value.numel():
            raise ConversionError(f"{name[:200]} has numbers: expected none")
        module, _, rest = name.partition(".")
        module = OLD_NAMES.get(module, module).replace(" ", "_")
        found[f"{module}.{rest.replace('denumerator', 'denominator')}"] = value
    if len(found) != len(state):
        raise ConversionError(f"{STATE}: tensors by names of two versions")
    return found


@final
@dataclass(frozen=True)
class _Model:
    """Tensors of a file, as weights of equipot."""

    tensors: SourceTensors
    found: Architecture
    modality: int | None
    """Index of that which is converted; None if there is one."""

    @property
    def has_biases(self) -> bool:
        """Whether layers have biases; a modality that is chosen is one."""
        modal = self.found.modal_maps & {"self_interaction_1", "self_interaction_2"}
        return self.found.biases or bool(modal)

    @property
    def neighbors(self) -> float:
        """What messages of the first layer are divided by."""
        return self._denominator(0)

    def weights(self) -> Iterator[tuple[str, Tensor]]:
        """Weights by the names of equipot, in float64."""
        found = self.found
        elements = rows_by_atomic_number(found.numbers)
        count, width = len(found.numbers), found.hidden[0]
        (embedding,), bias = self._linear("onehot_to_feature_x", [(count, width)])
        yield "backbone.embedding.weight", embedding[elements] + bias
        roots = self.tensors.take("edge_embedding.basis_function.coeffs")
        basis = "backbone.radial_inputs.basis"
        yield (
            f"{basis}.basis.wave_numbers" if found.solid else f"{basis}.wave_numbers",
            _of_shape(roots, (found.num_basis,), "basis_function.coeffs"),
        )
        for k, (before, after) in enumerate(pairwise(found.channels)):
            yield from self._layer(k, before, after, elements)
        yield "head.last.weight", self._readout()[0]
        if self.has_scales:
            yield "backbone.scale", self._of_elements("scale")[elements] / self.scale

    def energies(self) -> tuple[float, list[float]]:
        """Scale in eV, and reference energies in eV in the order of the file."""
        shift, scales = (self._of_elements(name) for name in ("shift", "scale"))
        return self.scale, (shift + scales * self._readout()[1]).tolist()

    @property
    def scale(self) -> float:
        """Scale in eV, the mean over the elements."""
        mean = self._of_elements("scale").mean().item()
        if not mean > 0:
            raise ConversionError(
                f"rescale_atomic_energy.scale is {mean:g} in the mean: expected a "
                "positive number"
            )
        return mean

    @property
    def has_scales(self) -> bool:
        """Whether the scale depends on the element."""
        scales = self._of_elements("scale")
        return not bool((scales == scales[0]).all())

    def _of_elements(self, name: str) -> Tensor:
        """Scale or shift of each element."""
        count, modalities = len(self.found.numbers), len(self.found.modalities)
        name = f"rescale_atomic_energy.{name}"
        tensor = self.tensors.take(name)
        if tensor.shape == (modalities, count) and self.modality is not None:
            return tensor[self.modality]
        if tensor.shape not in ((1,), (count,)):
            raise ConversionError(
                f"{name} has the shape {tuple(tensor.shape)}: expected one number, or "
                f"{count}"
            )
        return tensor.expand(count)

    def _layer(
        self,
        layer: int,
        before: Sequence[int],
        after: Sequence[int],
        elements: Sequence[int],
    ) -> Iterator[tuple[str, Tensor]]:
        found, ours = self.found, f"backbone.layers.{layer}"
        update = with_gates(after)
        order = TowerOrder(
            before,
            found.lmax_filter,
            len(after) - 1,
            "SO(3)",
            by_result=found.sorted_paths,
        )
        square = [(width, width) for width in before]
        matrices, bias = self._linear(f"{layer}_self_interaction_1", square)
        for n, matrix in enumerate(matrices):
            yield f"{ours}.linear.weights.{n}", matrix
        if self.has_biases:
            yield f"{ours}.bias_in", bias
        yield from self._radial(layer, order)
        # the constant of the first layer is part of the statistics
        ratio = self.neighbors / self._denominator(layer)
        shapes = list(zip(order.num_rows(), update, strict=True))
        matrices, bias = self._linear(f"{layer}_self_interaction_2", shapes)
        for n, matrix in enumerate(matrices):
            yield f"{ours}.convolution.weights.{n}", order.rows(matrix, n) * ratio
        if self.has_biases:
            yield f"{ours}.bias_out", bias
        shapes = list(zip(before, update, strict=False))
        for n, matrix in enumerate(self._self_connection(layer, shapes, elements)):
            yield f"{ours}.self_connection.weights.{n}", matrix

    def _radial(self, layer: int, order: TowerOrder) -> Iterator[tuple[str, Tensor]]:
        """Radial MLP, with the norms of basis and matrices and the gain folded in."""
        found = self.found
        widths = [found.num_basis, *found.radial_hidden, order.num_weights]
        ours = f"backbone.layers.{layer}.radial" + (".mlp" if found.solid else "")
        last = len(widths) - 2
        for n, shape in enumerate(pairwise(widths)):
            name = f"{layer}_convolution.weight_nn.layer{n}.weight"
            # Bessel functions: 2 / cutoff in the original, the root of it in equipot
            factor = GAIN if n else (2 / found.cutoff) ** 0.5
            matrix = self.tensors.take(name, shape) * (factor / shape[0] ** 0.5)
            if n == last:
                matrix = order.columns(matrix, self._signs(layer, order.paths))
            target = "output" if n == last else f"hidden.{n}"
            yield f"{ours}.{target}.weight", matrix.T

    def _signs(self, layer: int, paths: Sequence[Coupling]) -> dict[Coupling, float]:
        """Factor 1 or -1 from couplings of equipot to those of the file."""
        prefix = f"{layer}_convolution.convolution._compiled_main_left_right._w3j"
        return {
            path: sign_of_coupling(
                self.tensors,
                "_".join([prefix, *map(str, path)]),
                path,
                # recent versions need e3nn 0.5, and may leave products to others
                required=not self.found.sorted_paths,
            )
            for path in paths
        }

    def _self_connection(
        self,
        layer: int,
        shapes: Sequence[tuple[int, int]],
        elements: Sequence[int],
    ) -> Iterator[Tensor]:
        name = f"{layer}_self_connection_intro"
        if self.found.self_connections[layer] == "linear":
            yield from self._linear(name, shapes, biases=False)[0]
            return
        count = len(elements)
        sizes = [(rows, count, columns) for rows, columns in shapes]
        flat = self.tensors.take(f"{name}.fc_tensor_product.weight")
        for matrix in _blocks(flat, sizes, name):
            norm = (matrix.shape[0] * count) ** 0.5
            yield matrix.transpose(0, 1)[elements] / norm

    def _linear(
        self, name: str, shapes: Sequence[tuple[int, int]], *, biases: bool = True
    ) -> tuple[list[Tensor], Tensor]:
        """Matrices of a linear map of e3nn, each with its normalization, and the bias.

        A modality is a vector of further scalars, after all degrees of the input.

        Args:
            name: Of the module.
            shapes: Of the matrix of each degree.
            biases: Whether it has a bias if linear maps have; else it has none.
        """
        rows, columns = shapes[0]
        modal = any(name.endswith(module) for module in self.found.modal_maps)
        count = len(self.found.modalities) if modal else 0
        flat = self.tensors.take(f"{name}.linear.weight")
        *matrices, of_modality = _blocks(flat, [*shapes, (count, columns)], name)
        norms = [(rows + count) ** 0.5, *(len(m) ** 0.5 for m in matrices[1:])]
        size = columns if biases and self.found.biases else 0
        bias = torch.zeros(columns, dtype=torch.float64)
        bias[:size] = self.tensors.take(f"{name}.linear.bias", (size,))
        if modal:
            bias = bias + of_modality[self.modality] / norms[0]
        return [m / n for m, n in zip(matrices, norms, strict=True)], bias

    def _readout(self) -> tuple[Tensor, float]:
        """Two linear maps with nothing between them: a vector and a constant."""
        width = self.found.hidden[0]
        hidden = max(width // 2, 1)
        (first,), inner = self._linear("reduce_input_to_hidden", [(width, hidden)])
        (second,), outer = self._linear("reduce_hidden_to_energy", [(hidden, 1)])
        return (first @ second).T, (inner @ second + outer).item()

    def _denominator(self, layer: int) -> float:
        name = f"{layer}_convolution.denominator"
        tensor = self.tensors.take(name)
        if tensor.numel() != 1 or not tensor.item() > 0:
            raise ConversionError(f"{name}: expected a positive number")
        return float(tensor.item())


def _modality(found: Architecture, head: str | None) -> int | None:
    """Index of the modality that is converted; None if there is one."""
    if not found.modalities and head is None:
        return None
    if head not in found.modalities:
        names = ", ".join(name[:100] for name in found.modalities) or "none"
        chosen = "none was chosen" if head is None else f"not {head[:100]}"
        raise ConversionError(
            f"modalities of the file: {names}; {chosen}. Choose one with --head"
        )
    return found.modalities.index(head)


def _blocks(flat: Tensor, shapes: Sequence[tuple[int, ...]], name: str) -> list[Tensor]:
    """Matrices that lie one after the other."""
    sizes = [torch.Size(shape).numel() for shape in shapes]
    _of_shape(flat, (sum(sizes),), name)
    return [
        part.reshape(shape)
        for part, shape in zip(flat.split(sizes), shapes, strict=True)
    ]


def _of_shape(tensor: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    if tuple(tensor.shape) != shape:
        raise ConversionError(
            f"{name} has the shape {tuple(tensor.shape)}, expected {shape}"
        )
    return tensor


def _remarks(found: Architecture) -> tuple[str, ...]:
    remarks = []
    if found.onset is not None:
        remarks.append(
            "envelope XPLOR: second derivatives jump where an edge "
            f"is {found.onset:g} Å or {found.cutoff:g} Å long, and so do Hessians"
        )
    return (
        "features have no parity: energies of a structure and of its mirror image "
        "differ a little",
        *remarks,
    )
